
  // ── live: this part stands only on the page that a server shows, at the end of the function above ──
  const bar = one(document, ".livebar");
  const say = (where, text) => {
    const place = one(bar, where);
    if (place.textContent !== text) place.textContent = text;
  };

  // ── a fresh page laid over this one: what is the same stays as it is, with its focus and its playing video ──
  const OURS = ["playing", "loud", "paused", "one"]; // classes, attributes and elements that only the script makes
  const KEPT = ["hidden", "open", "style", "aria-hidden"];
  const made = (node) => node.nodeType === 1 && (node.tagName === "VIDEO" || node.matches(".copy"));
  const called = (node) => (node.id ? "#" + node.id : node.tagName === "LABEL" ? "@" + one(node, "[name]").name : "." + (node.classList[0] || ""));
  const key = (node) => (node.nodeType === 1 ? node.tagName + called(node) : node.nodeType);

  function attributes(old, fresh) {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !KEPT.includes(name) && name !== "class") old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (!KEPT.includes(name) && name !== "class" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    const own = OURS.filter((name) => old.classList.contains(name) && !fresh.classList.contains(name));
    const wanted = [...fresh.classList, ...own].join(" ");
    if ([...old.classList].join(" ") !== wanted) old.setAttribute("class", wanted);
  }

  function lay(old, fresh) {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.hasAttribute("data-own")) return;
    attributes(old, fresh);
    const there = new Map();
    for (const child of old.childNodes) {
      if (made(child)) continue;
      if (!there.has(key(child))) there.set(key(child), []);
      there.get(key(child)).push(child);
    }
    const pairs = [...fresh.childNodes].map((child) => [child, (there.get(key(child)) || []).shift()]);
    for (const rest of there.values()) for (const child of rest) child.remove();
    // An element that is moved loses its focus, and a video in it stops: text makes way for it.
    const light = (node) => made(node) || node.nodeType === 3;
    let place = old.firstChild;
    for (const [child, same] of pairs) {
      while (place && made(place)) place = place.nextSibling;
      if (!same) {
        old.insertBefore(document.adoptNode(child), place);
        continue;
      }
      lay(same, child);
      let next = place;
      while (next && next !== same && light(next)) next = next.nextSibling;
      if (next === same) place = same.nextSibling;
      else old.insertBefore(same, place);
    }
  }

  const standings = () => new Map(all(document, "#clips .card").map((card) => [one(card, ".name").textContent.trim(), { word: one(card, ".tag").textContent.replace(/^\s*\S+\s/, ""), picked: "picked" in card.dataset }]));

  function news(before) {
    const words = new Map();
    const picked = [];
    for (const [name, { word, picked: chosen }] of standings()) {
      const was = before.get(name);
      if (!was || was.word !== word) words.set(word, (words.get(word) || 0) + 1);
      if (chosen && !(was && was.picked)) picked.push(name);
    }
    const told = [...words].map(([word, count]) => count + " more clip" + (count === 1 ? " " : "s ") + word);
    if (picked.length) told.push("picked: " + picked.slice(0, 3).join(", ") + (picked.length > 3 ? " and " + (picked.length - 3) + " more" : ""));
    return told.join(", ");
  }

  function update(fresh) {
    const before = standings();
    const chosen = all(form, "select").map((select) => [select.name, select.value]);
    const held = document.activeElement;
    const near = held && held.closest(".group");
    if (home) {
      // The details that are open lie in the dialog; they are laid there, so that a video in them plays on.
      const body = fresh.getElementById(home.id) && one(fresh.getElementById(home.id), ".body");
      if (!body || !one(fresh.getElementById(home.id), "summary")) dialog.close();
      else {
        lay(one(dialog, ".body"), body);
        body.remove();
        players(one(dialog, ".body"));
      }
    }
    document.title = fresh.title;
    document.body.classList.toggle("upright", fresh.body.classList.contains("upright"));
    for (const part of ["header.top", "main", "footer"]) lay(one(document, part), one(fresh, part));
    if (now && !now.pic.isConnected) stop();
    cards = all(document, ".card");
    mine = all(document, "#clips .card");
    words.clear();
    copies();
    for (const [name, value] of chosen) {
      const select = form.elements[name];
      if (!select) continue;
      select.value = value;
      if (select.selectedIndex < 0) select.value = "";
    }
    tools();
    filter();
    if (held && !held.isConnected && near && near.isConnected) target(one(near, ".card")).focus();
    const told = news(before);
    if (told) say(".news", told);
  }

  // ── what the server says ──
  let revision = "";
  let stale = false;
  let asking = false;

  async function refresh() {
    if (asking) return void (stale = true);
    asking = true;
    try {
      do {
        stale = false;
        const answer = await fetch("./", { cache: "no-store" });
        if (!answer.ok) throw new Error("no page");
        update(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } while (stale);
    } catch {
      revision = ""; // asked again at the next event
    } finally {
      asking = false;
    }
  }

  let source = null;
  let later = 0;

  function connect() {
    clearTimeout(later);
    if (source) source.close();
    source = new EventSource("events");
    source.addEventListener("state", (event) => {
      const said = JSON.parse(event.data);
      bar.dataset.state = said.trouble ? "trouble" : "on";
      say(".link", "live");
      if (!said.trouble && one(bar, ".trouble").textContent) say(".refused", "");
      say(".trouble", said.trouble ? "This is the page as it was before: " + said.trouble : "");
      if (said.revision === revision) return;
      revision = said.revision;
      refresh();
    });
    source.addEventListener("error", () => {
      bar.dataset.state = "off";
      say(".link", "not connected: trying again; if storyrun report --serve has ended, start it anew");
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(later);
      later = setTimeout(connect, 3000);
    });
  }

  // A browser has few connections to one server: a page that nobody sees gives its own back.
  function watch() {
    if (document.visibilityState === "visible") return connect();
    clearTimeout(later);
    if (source) source.close();
    source = null;
  }
  document.addEventListener("visibilitychange", watch);
  addEventListener("pagehide", () => source && source.close());
  addEventListener("pageshow", (event) => event.persisted && watch());
  watch();

  // ── picking ──
  async function pick(button) {
    if (button.getAttribute("aria-busy") === "true") return;
    const undo = button.getAttribute("aria-pressed") === "true";
    const clip = button.dataset.clip;
    button.setAttribute("aria-busy", "true");
    say(".refused", "");
    let why = "the server does not answer";
    try {
      const answer = await fetch("pick", {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Storyrun": "pick" },
        body: JSON.stringify({ clip, undo }),
      });
      const said = await answer.json();
      why = answer.ok ? "" : [said.error, said.hint].filter(Boolean).join("; ");
    } catch {}
    button.removeAttribute("aria-busy");
    if (why) return say(".refused", clip + (undo ? " stays picked: " : " was not picked: ") + why);
    await refresh();
    if (undo) say(".news", clip + " is no longer picked");
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.pick");
    if (button) pick(button);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || dialog.open || (event.key !== "p" && event.key !== "P")) return;
    if (event.target.closest("input, select, textarea, pre")) return;
    const group = event.target.closest(".group");
    const card = event.target.closest(".card") || (group && all(group, ".card").find(visible));
    const button = card && one(card, ".pick");
    if (button) pick(button);
  });

  // A dialog hides all else from a screen reader: the bar goes with it.
  new MutationObserver(() => (dialog.open ? dialog : document.body).append(bar)).observe(dialog, { attributeFilter: ["open"] });

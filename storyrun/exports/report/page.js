"use strict";
(() => {
  const all = (where, what) => [...where.querySelectorAll(what)];
  const one = (where, what) => where.querySelector(what);
  let cards = all(document, ".card");
  let mine = all(document, "#clips .card");
  const dialog = one(document, "dialog");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const status = one(document, ".count");

  // ── playing: one clip at a time, made when it is wanted and let go of afterwards ──
  let now = null; // {pic, video, loud}

  function stop() {
    if (!now) return;
    const { pic, video } = now;
    now = null;
    video.pause();
    video.removeAttribute("src");
    video.load();
    video.remove();
    pic.classList.remove("playing", "loud", "paused");
  }

  function play(pic, loud) {
    stop();
    const video = document.createElement("video");
    now = { pic, video, loud };
    video.preload = "auto";
    video.playsInline = true;
    video.muted = !loud;
    video.loop = !loud;
    video.setAttribute("aria-hidden", "true");
    video.addEventListener("timeupdate", () => pic.style.setProperty("--at", video.currentTime / video.duration || 0));
    video.addEventListener("ended", () => now && now.video === video && stop());
    video.addEventListener("error", () => {
      if (!now || now.video !== video) return;
      stop();
      if (loud) status.textContent = "This browser cannot play " + pic.getAttribute("href") + ": open the file in a player";
    });
    pic.append(video);
    pic.classList.add("playing");
    pic.classList.toggle("loud", loud);
    video.src = pic.href;
    video.play().catch(() => {});
  }

  function toggle(pic) {
    if (!now || now.pic !== pic || !now.loud) {
      const at = now && now.pic === pic ? now.video.currentTime : 0;
      play(pic, true);
      if (at) now.video.currentTime = at;
    } else if (now.video.paused) {
      now.video.play().catch(() => {});
      pic.classList.remove("paused");
    } else {
      now.video.pause();
      pic.classList.add("paused");
    }
  }

  let waiting = 0;
  const busy = () => now && now.loud;
  document.addEventListener("pointerover", (event) => {
    const pic = event.target.closest("a.pic");
    clearTimeout(waiting);
    if (event.pointerType === "touch" || !pic || still.matches || busy() || (now && now.pic === pic)) return;
    waiting = setTimeout(() => play(pic, false), 90);
  });
  document.addEventListener("pointerout", (event) => {
    const pic = event.target.closest("a.pic");
    if (!pic || pic.contains(event.relatedTarget)) return;
    clearTimeout(waiting);
    if (now && now.pic === pic && !now.loud && document.activeElement !== pic) stop();
  });
  document.addEventListener("focusin", (event) => {
    const pic = event.target.closest("a.pic");
    if (now && now.pic !== pic) stop();
    if (pic && !now && !still.matches && pic.matches(":focus-visible")) play(pic, false);
  });
  document.addEventListener("click", (event) => {
    const pic = event.target.closest("a.pic");
    if (!pic || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    toggle(pic);
  });

  // ── the keyboard ──
  const target = (card) => one(card, "a.pic") || one(card.closest(".group"), "summary"); // a film always has its picture
  const visible = (item) => !item.hidden && !item.closest("[hidden]");

  function neighbour(card, key) {
    const shown = cards.filter(visible);
    const place = shown.indexOf(card);
    if (key === "ArrowLeft" || key === "ArrowRight") return shown[place + (key === "ArrowLeft" ? -1 : 1)];
    // Rows differ in how many cards they hold: the nearest card of the next row that has one.
    const from = card.getBoundingClientRect();
    const middle = from.left + from.width / 2;
    const down = key === "ArrowDown";
    let best = null;
    let row = null;
    for (let n = place + (down ? 1 : -1); n >= 0 && n < shown.length && Math.abs(n - place) < 40; n += down ? 1 : -1) {
      const box = shown[n].getBoundingClientRect();
      if (down ? box.top < from.bottom - 4 : box.bottom > from.top + 4) continue;
      if (row === null) row = box.top;
      if (Math.abs(box.top - row) > from.height) break;
      const far = Math.abs(box.left + box.width / 2 - middle);
      if (best === null || far < best.far) best = { far, card: shown[n] };
    }
    return best && best.card;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (event.key === "Escape") return stop();
    const typing = event.target.closest("input, select, textarea, pre");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      return one(document, ".filters input").focus();
    }
    if (typing) return;
    const group = event.target.closest(".group");
    if (!group) return;
    const card = event.target.closest(".card") || all(group, ".card").find(visible);
    const pic = event.target.closest("a.pic");
    if (event.key.startsWith("Arrow")) {
      const next = neighbour(card, event.key);
      event.preventDefault();
      if (next) {
        target(next).focus({ focusVisible: true });
        target(next).scrollIntoView({ block: "nearest" });
      }
    } else if (pic && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      if (!event.repeat) toggle(pic);
    } else if (event.key === "d" || event.key === "D") {
      open(group);
    }
  });

  // ── details: the same facts that are there without a script, in a dialog with players ──
  let home = null;

  function open(group) {
    const body = one(group, ".body");
    if (!body) return; // a film is all picture
    stop();
    if (home) back();
    home = group;
    body.classList.toggle("one", all(body, ".take").length === 1);
    players(body);
    one(dialog, ".slot").append(body);
    one(dialog, "h2").textContent = (one(group, ".gid") ? one(group, ".gid").firstChild : one(group, ".name")).textContent.trim();
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    one(dialog, "h2").focus();
  }

  function players(body) {
    for (const take of all(body, ".take[data-src]")) {
      if (one(take, "video")) continue;
      const video = document.createElement("video");
      video.controls = true;
      video.preload = "metadata";
      video.playsInline = true;
      if (take.dataset.poster) video.poster = take.dataset.poster;
      video.src = take.dataset.src;
      video.setAttribute("aria-label", take.dataset.name);
      take.prepend(video);
    }
  }

  function back() {
    const body = one(dialog, ".body");
    for (const video of all(body, "video")) {
      video.pause();
      video.removeAttribute("src");
      video.load();
      video.remove();
    }
    one(home, ".more").append(body);
    home = null;
  }

  dialog.addEventListener("close", () => {
    const group = home;
    back();
    one(group, "summary").focus();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest(".shut")) return dialog.close();
    const step = event.target.closest(".step");
    if (step) {
      const groups = all(document, ".group").filter((group) => visible(group) && one(group, ".more"));
      const next = groups[groups.indexOf(home) + Number(step.dataset.step)];
      if (next) open(next);
    }
  });
  document.addEventListener("click", (event) => {
    const summary = event.target.closest(".more > summary");
    if (summary) {
      event.preventDefault();
      return open(summary.closest(".group"));
    }
    const shot = event.target.closest("a.shot");
    if (shot && home) {
      event.preventDefault();
      const videos = all(dialog, "video");
      for (const video of videos) {
        video.currentTime = Number(shot.dataset.t);
        if (videos.length > 1) video.muted = true;
        video.play().catch(() => {});
      }
    }
  });

  // ── lines to type can be copied ──
  function copies() {
    for (const line of all(document, ".line")) if (!line.nextElementSibling || !line.nextElementSibling.matches(".copy")) copied(line);
  }

  function copied(line) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy: " + line.textContent);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(line.textContent);
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy"), 1500);
      } catch {
        getSelection().selectAllChildren(line);
      }
    });
    line.after(button);
  }
  copies();

  // ── the filter ──
  const form = one(document, ".filters");
  const words = new Map(); // what is searched, gathered at the first letter

  function text(card) {
    if (!words.has(card)) {
      const group = card.closest(".group");
      const body = one(group, ".words") || one(dialog, ".words");
      words.set(card, (card.textContent + " " + body.textContent).toLowerCase());
    }
    return words.get(card);
  }

  function filter() {
    const said = new FormData(form);
    const sought = (said.get("text") || "").toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...said].filter(([name, value]) => name !== "text" && value);
    let count = 0;
    for (const card of mine) {
      const fits = chosen.every(([name, value]) => (value === "on" && ["needs", "wrong", "picked"].includes(name) ? name in card.dataset : card.dataset[name] === value));
      card.hidden = !(fits && sought.every((word) => text(card).includes(word)));
      if (!card.hidden) count += 1;
    }
    for (const group of all(document, "#clips .group")) group.hidden = !one(group, ".card:not([hidden])");
    const whole = mine.length + (mine.length === 1 ? " clip" : " clips");
    status.textContent = count === mine.length ? whole : count + " of " + whole;
    if (now && !visible(now.pic)) stop();
  }

  let asked = 0;
  const soon = () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(filter);
  };
  form.addEventListener("input", soon);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  function tools() {
    form.hidden = mine.length < 2;
    one(document, ".help").hidden = !one(document, "a.pic");
  }
  tools();

  addEventListener("beforeprint", () => all(document, "img").forEach((image) => Object.assign(image, { loading: "eager", decoding: "sync" })));
  if (form.elements.text && form.elements.text.value) filter(); // the browser kept what was typed
})();

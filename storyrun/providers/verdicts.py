"""What a provider's no means: its code to a class of ours, and each class to what to do about it.

By code and not by status: Arrearage comes as 400 and as 403, Throttling.AllocationQuota as 429 and as 400. Codes are
those of help.aliyun.com/zh/model-studio/error-code (DashScope, and TokenHub, which passes it through), of
docs.toapis.com (video-status, token-balance, wan2.6), and of OpenAI-like gateways.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from storyrun.records import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIALS, BALANCE, MODERATION = ErrorClass.CREDENTIALS, ErrorClass.BALANCE, ErrorClass.MODERATION
PARAMETER, RATE_LIMIT, PROVIDER = ErrorClass.PARAMETER, ErrorClass.RATE_LIMIT, ErrorClass.PROVIDER


def _codes(kind: ErrorClass, words: str) -> dict[str, ErrorClass]:
    return dict.fromkeys(words.lower().split(), kind)


NO_DOWNLOAD = _codes(
    # The media could not be fetched. Nothing is wrong with the clip; another time, or from elsewhere, it may work.
    PROVIDER,
    "InvalidURL.Timeout InvalidURL.ConnectionRefused InvalidParameter.DataInspection "
    "InvalidFile.DownloadFailed BadRequest.InputDownloadFailed",
)

CODES: Mapping[str, ErrorClass] = MappingProxyType(
    NO_DOWNLOAD
    | _codes(
        CREDENTIALS,
        "InvalidApiKey invalid_api_key NOT_AUTHORIZED AccessDenied access_denied WorkSpaceNotFound "
        "authentication_error unauthorized permission_error permission_denied forbidden",
    )
    | _codes(
        BALANCE,
        "Arrearage AllocationQuota.FreeTierOnly Throttling.AllocationQuota insufficient_quota "
        "insufficient_user_quota PrepaidBillOverdue PostpaidBillOverdue CommodityNotPurchased "
        "AccessDenied.Unpurchased payment_required billing_error",
    )
    | _codes(
        MODERATION,
        "DataInspectionFailed data_inspection_failed IPInfringementSuspect CustomRoleBlocked FaqRuleBlocked "
        "content_policy_violation PrivacyInformation",
    )
    | _codes(
        PARAMETER,
        "InvalidParameter InvalidURL InvalidFile InvalidImage InvalidImageResolution InvalidImageFormat InvalidPerson "
        "InvalidInput InvalidInputLength InvalidVideo InvalidAudio BadRequest BadRequestException Audio ModelNotFound "
        "model_not_found model_not_supported invalid_request invalid_request_error invalid_value invalid_parameter "
        "UnsupportedOperation",
    )
    | _codes(
        RATE_LIMIT,
        "Throttling LimitRequests limit_requests limit_burst_rate rate_limit_exceeded rate_limit_error "
        "too_many_requests",
    )
    | _codes(
        PROVIDER,
        "InternalError internal_error SystemError ModelServiceFailed RequestTimeOut ResponseTimeout RewriteFailed "
        "ModelUnavailable ModelServingError ServiceUnavailable server_error",
    )
)
"""A code, or the first or last part of one with dots, in small letters."""

MISSING = frozenset({"task_not_exist", "task_not_found", "not_found_error", "tasknotfound"})
"""The provider does not know the task. ToAPIs: 404 by its page, 400 with `task_not_exist` as a client saw it."""

REFUSALS: Mapping[int, ErrorClass] = MappingProxyType(
    {
        400: PARAMETER,
        401: CREDENTIALS,
        402: BALANCE,
        403: CREDENTIALS,
        404: PROVIDER,  # without a code it is the address that is wrong, not the clip
        405: PROVIDER,
        413: PARAMETER,
        415: PARAMETER,
        422: PARAMETER,
        429: RATE_LIMIT,
    }
)
"""The statuses that prove that a create was refused, with the class where the answer names no code of its own."""

DEFINITE = frozenset({CREDENTIALS, BALANCE, MODERATION, PARAMETER, RATE_LIMIT})
"""The classes that are a refusal in whatever 2xx or 4xx answer they come."""

GENERIC = frozenset({"generation_failed", "task_failed", "ali_api_error", "upstream_error", "bad_response"})
"""Codes of gateways that say only that it failed; the reason is in the words."""

_TOLD = (
    # ToAPIs' own example of a failed task is moderation under the code generation_failed
    (
        MODERATION,
        re.compile(
            "(?i)content polic|violates the policy|inappropriate content|content moderation|内容违反|内容审核|敏感内容"
        ),
    ),
    (BALANCE, re.compile("(?i)insufficient (balance|credit|quota)|余额不足")),
)

TO_DO: Mapping[ErrorClass, str] = MappingProxyType(
    {
        CREDENTIALS: "Check {key}, and that it is a key for {host} and may use this model",
        BALANCE: "Top up the account or raise its quota, then run again",
        MODERATION: "Change the text or the pictures of this clip",
        PARAMETER: "Change what is named here: the model's card does not know of it",
        RATE_LIMIT: "Wait a while",
        PROVIDER: "Nothing is wrong with the clip: run again later",
        ErrorClass.NETWORK: "Check the connection, then run again",
        ErrorClass.EXPIRED: "It can no longer be had: storyrun settle",
        ErrorClass.FILE: "Run again: it is fetched anew",
    }
)
"""What to do about each class."""

NOT_REACHED = "{host} must be able to fetch every picture, film and sound: is the URL public? Run again then"
WRONG_ADDRESS = "Is {base} right?"


def classify(code: str, message: str = "") -> ErrorClass | None:
    """The class of a code; None for one that nobody knows.

    Codes with dots are known whole, by their last part (Model.AccessDenied, xxx.PrivacyInformation), or by their first
    ones (InvalidFile.Size). A generic code, or none, is judged by what is said with it.
    """
    name = code.strip().lower().replace(" ", "_")
    parts = name.split(".")
    tried = [name, parts[-1], *(".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))]
    known = next((CODES[word] for word in tried if word in CODES), None)
    if known is not None or (name and name not in GENERIC):
        return known
    # gateways on QuantumNous/new-api put the provider's own code before its words
    inner = re.match(r"([A-Za-z][\w.]+): ", message)
    if inner and (kind := classify(inner[1])):
        return kind
    return next((kind for kind, words in _TOLD if words.search(message)), None)


def no_download(code: str) -> bool:
    """Whether it was the media that the provider could not fetch."""
    return code.strip().lower() in NO_DOWNLOAD

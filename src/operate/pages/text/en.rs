//! The texts that all pages share, in English.

use super::Words;

pub(super) const WORDS: Words = Words {
    skip: "Skip to the content",
    from_webcrm: "webCRM made this page for you. Share the link only with those who help you.",
    copy: "Copy",
    copied: "Copied",
    not_found: [
        "There is no such page",
        "The link fits no page. Perhaps its last part is missing, or it was withdrawn.",
        "Open the link again from the mail from webCRM, all of it. If that does not help, ask webCRM (support@webcrm.com) for a new one.",
    ],
    expired: [
        "The link has expired",
        "For safety a link works for a limited time only, and the time of this one is over. What you have published already still counts.",
        "Ask webCRM (support@webcrm.com) for a new link.",
    ],
    too_many: ["One moment", "The page was loaded very often in a short time.", ""],
    wait: |secs| match secs {
        0..=90 => format!("Try again in {secs} seconds."),
        _ => format!("Try again in {} minutes.", secs.div_ceil(60)),
    },
    stale_form: [
        "The page had become too old",
        "The form does not belong to the page as it is now. Nothing was changed.",
        "Go back, reload the page, and send the form again.",
    ],
    unreadable: [
        "What was sent could not be read",
        "The form is too large, or has a form that we do not know. Nothing was changed.",
        "Go back and try again.",
    ],
    forbidden: ["You may not do this", "Your access does not include it.", "Ask an administrator."],
    unavailable: [
        "This cannot be done now",
        "The system is starting, or lacks something that it needs. Nothing was changed.",
        "Try again in a few minutes.",
    ],
    failed: [
        "Something went wrong at webCRM",
        "The error is ours and has been noted. You did nothing wrong.",
        "Try again in a while. If it happens again, write to support@webcrm.com and say when it was.",
    ],
    too_slow: ["The answer took too long", "We waited longer than a page may.", "Reload the page in a while."],
    refused: ["This cannot be done", "", ""],
};

//! The frame of a page, and the two that stand in its place: to sign in, and when there is nothing to show.

use super::Part;
use super::html::Html;

/// Its style.
pub(super) const STYLE: &str = include_str!("files/page.css");
/// What keeps it up to date in a browser that runs scripts.
pub(super) const SCRIPT: &str = include_str!("files/page.js");

/// A browser without scripts loads the page anew each 5 s.
const REFRESH: &str = "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>";

/// The page.
pub(super) fn whole(title: &str, parts: &[Part], has_tokens: bool) -> String {
    let body = Html::new()
        .raw("<p id=\"trouble\" role=\"alert\" hidden></p>\n<main id=\"main\">\n")
        .each(parts, |html, part| {
            let said = if part.is_said { " role=\"status\" aria-atomic=\"true\"" } else { "" };
            html.raw("<div").attribute("id", part.id).raw(said).raw(" class=\"part\">").html(&part.html).raw("</div>\n")
        })
        .raw("</main>\n<footer><p><span id=\"pulse\">As it was when the page was loaded.</span> keepone ")
        .text(env!("CARGO_PKG_VERSION"))
        .raw("</p>")
        .when(has_tokens, |html| {
            html.raw("<form method=\"post\" action=\"/sign-out\"><button>Sign out</button></form>")
        })
        .raw("</footer>\n<script src=\"/page.js\"></script>");
    document(title, REFRESH, &body)
}

/// Where a token is asked for.
pub(super) fn sign_in(title: &str, is_wrong: bool) -> String {
    let body = Html::new()
        .raw("<main id=\"main\" class=\"narrow\"><h1>")
        .text(title)
        .raw("</h1>\n<form method=\"post\" action=\"/sign-in\">\n")
        .when(is_wrong, |html| {
            html.raw("<p role=\"alert\" id=\"wrong\" class=\"bad\">There is no such token. The token file has a line for each.</p>")
        })
        .raw(
            "<p><label for=\"token\">Token</label> <input id=\"token\" name=\"token\" type=\"password\" required \
             autocomplete=\"current-password\" autofocus",
        )
        .when(is_wrong, |html| html.raw(" aria-describedby=\"wrong\" aria-invalid=\"true\""))
        .raw("> <button>Sign in</button></p>\n</form></main>");
    document(title, "", &body)
}

/// Why there is nothing to show.
pub(super) fn trouble(title: &str, words: &str) -> String {
    let body = Html::new()
        .raw("<main id=\"main\" class=\"narrow\"><h1>")
        .text(title)
        .raw("</h1>\n<p role=\"alert\" class=\"bad\">")
        .text(words)
        .raw("</p>\n<p>The page is loaded anew each 5 s.</p></main>");
    document(title, "<meta http-equiv=\"refresh\" content=\"5\">", &body)
}

fn document(title: &str, head: &'static str, body: &Html) -> String {
    let html = Html::new()
        .raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        .raw("<meta name=\"color-scheme\" content=\"light dark\">\n")
        .element("title", title)
        .raw("\n<link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/page.css\">\n")
        .raw(head)
        .raw("\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the content</a>\n")
        .html(body)
        .raw("\n</body>\n</html>\n");
    html.as_str().to_owned()
}

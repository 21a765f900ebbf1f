//! What the pages of agent and witness are put together from.
//!
//! What must stay true: each section has a heading and bears its name; each table has a caption and scopes; what may
//! scroll sideways takes the keyboard's focus.

use super::html::Html;

/// A section with its heading.
pub fn section(id: &'static str, title: &'static str, body: &Html) -> Html {
    let head = Html::new().raw("<section aria-labelledby=\"").raw(id).raw("\"><h2 id=\"").raw(id).raw("\">").raw(title);
    head.raw("</h2>").html(body).raw("</section>")
}

/// What may be wider than a small screen, named by the heading of its section.
pub fn scroll(id: &'static str, body: &Html) -> Html {
    let head =
        Html::new().raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"").raw(id).raw("\">");
    head.html(body).raw("</div>")
}

/// A table with its rows.
pub fn table(id: &'static str, caption: &'static str, headers: &[&'static str], rows: &Html) -> Html {
    let table = Html::new()
        .raw("<table><caption>")
        .raw(caption)
        .raw("</caption><thead><tr>")
        .each(headers, |html, header| html.raw("<th scope=\"col\">").raw(header).raw("</th>"))
        .raw("</tr></thead><tbody>")
        .html(rows)
        .raw("</tbody></table>");
    scroll(id, &table)
}

/// What is not listed, and what lists it; nothing where all is.
pub fn more(left_out: usize, command: &'static str) -> Html {
    if left_out == 0 {
        return Html::new();
    }
    let words = Html::new().raw("<p class=\"soft\">and ").text(left_out).raw(" more, which <code>").raw(command);
    words.raw("</code> lists</p>")
}

/// A state: never by its colour alone, so it has a sign and words.
pub fn badge(class: &'static str, sign: &'static str, words: &str) -> Html {
    let html = Html::new().raw("<span class=\"badge ").raw(class).raw("\"><span aria-hidden=\"true\">").raw(sign);
    html.raw("</span> ").text(words).raw("</span>")
}

/// What is left of a lease in milliseconds, of how much, as a bar and a number; the page's script counts it down until
/// the next word, which it knows by `at`.
pub fn countdown(left: f64, of: f64, at: u64) -> Html {
    let of = of.max(1.0);
    Html::new()
        .raw("<span class=\"lease\"")
        .attribute("data-left", format_args!("{left:.1}"))
        .attribute("data-of", format_args!("{of:.1}"))
        .attribute("data-at", at)
        .raw("><svg viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\">")
        .raw("<rect class=\"all\" width=\"100\" height=\"10\"/><rect class=\"left\" height=\"10\"")
        .attribute("width", format_args!("{:.1}", (100.0 * left / of).clamp(0.0, 100.0)))
        .raw("/></svg><span data-count=\"\">")
        .text(format_args!("{:.2} s", left / 1000.0))
        .raw("</span></span>")
}

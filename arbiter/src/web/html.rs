//! HTML and SVG, written so that no name from a configuration or a peer can break out of its place.
//!
//! What must stay true: markup is a constant of the program, and everything else is escaped; the types see to it.

use std::fmt::{self, Display, Write as _};

/// A piece of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Nothing yet.
    pub fn new() -> Self {
        Html::default()
    }

    /// Markup, which is the program's own.
    #[must_use]
    pub fn raw(mut self, markup: &'static str) -> Self {
        self.0.push_str(markup);
        self
    }

    /// Text, or what stands between the quotes of an attribute.
    #[must_use]
    pub fn text(mut self, text: impl Display) -> Self {
        // A `String` takes everything.
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    /// An attribute, with the blank before it.
    #[must_use]
    pub fn attribute(self, name: &'static str, value: impl Display) -> Self {
        self.raw(" ").raw(name).raw("=\"").text(value).raw("\"")
    }

    /// An element with text in it: `element("td", "n1")`.
    #[must_use]
    pub fn element(self, name: &'static str, text: impl Display) -> Self {
        self.raw("<").raw(name).raw(">").text(text).raw("</").raw(name).raw(">")
    }

    /// The same with a class.
    #[must_use]
    pub fn classed(self, name: &'static str, class: impl Display, text: impl Display) -> Self {
        self.raw("<").raw(name).attribute("class", class).raw(">").text(text).raw("</").raw(name).raw(">")
    }

    /// Another piece.
    #[must_use]
    pub fn html(mut self, other: &Html) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// For each of several.
    #[must_use]
    pub fn each<T>(self, all: impl IntoIterator<Item = T>, one: impl FnMut(Self, T) -> Self) -> Self {
        all.into_iter().fold(self, one)
    }

    /// If so.
    #[must_use]
    pub fn when(self, is: bool, more: impl FnOnce(Self) -> Self) -> Self {
        if is { more(self) } else { self }
    }

    /// As it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Neither a page nor a reader has use for these; marks of direction could turn a line around.
                c if (c.is_control() && c != '\n' && c != '\t')
                    || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
                {
                    self.0.push('\u{fffd}');
                }
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_its_place() {
        let bad = "<script>alert('1')</script>\" onload=\"x&\u{202e}\u{0}";
        let html = Html::new().raw("<a").attribute("title", bad).raw(">").text(bad).raw("</a>").element("td", bad);
        let safe = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x&amp;\u{fffd}\u{fffd}";
        assert_eq!(html.as_str(), format!("<a title=\"{safe}\">{safe}</a><td>{safe}</td>"));
    }
}

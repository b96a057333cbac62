//! Prose in markdown, as HTML.

use maud::{Markup, PreEscaped};
use pulldown_cmark::{Event, Parser, Tag, TagEnd, html};

/// CommonMark as HTML. HTML in it is shown as text and images are left out, so that prose
/// can neither change the page nor have it ask for anything.
pub(super) fn html_of(markdown: &str) -> Markup {
    let mut out = String::new();
    let events = Parser::new(markdown).filter_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        other => Some(other),
    });
    html::push_html(&mut out, events);
    PreEscaped(out)
}

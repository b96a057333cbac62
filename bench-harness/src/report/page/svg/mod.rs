//! Charts as SVG that follows the page: its colours, its type, its width.
//!
//! Places are percentages of the chart's width, so that a chart is as wide as the screen and
//! its text stays as large as the page's; a drawing that scales as a whole would be unreadable
//! on a phone. Curves are in a nested drawing that stretches.

mod dots;
mod lines;
mod mark;
mod scale;

pub(super) use dots::{Dot, Dots, Row};
pub(super) use lines::{Line, Lines};
pub(super) use mark::{class, legend};
pub(super) use scale::{Scale, tick_text};

use maud::{Markup, html};

/// What every chart says of itself.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// Unlike that of any other chart of the page.
    pub(super) id: String,
    /// What is shown.
    pub(super) title: String,
    /// The axes in words, for whom the chart is read out.
    pub(super) description: String,
}

/// The drawing itself, `height` pixels high.
fn drawing(about: &About, height: usize, inner: &Markup) -> Markup {
    let (title, description) = (format!("{}-t", about.id), format!("{}-d", about.id));
    html! {
        svg role="img" width="100%" height=(height) aria-labelledby={ (title) " " (description) } {
            title id=(title) { (about.title) }
            desc id=(description) { (about.description) }
            (inner)
        }
    }
}

/// A share of the width, as SVG writes it.
fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// Text at the ends of an axis stays within it.
fn anchor(place: f64) -> &'static str {
    match place {
        x if x < 0.02 => "start",
        x if x > 0.98 => "end",
        _ => "middle",
    }
}

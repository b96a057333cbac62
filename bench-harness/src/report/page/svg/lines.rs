//! Curves over an axis.

use maud::{Markup, html};

use super::{About, Scale, anchor, class, drawing, percent, tick_text};
use crate::figures::Unit;
use crate::subject::Variant;

/// The chart.
#[derive(Debug)]
pub(in super::super) struct Lines {
    /// What it says of itself.
    pub(in super::super) about: About,
    /// The ticks of the horizontal axis: from 0.0 to 1.0, and what is written there.
    pub(in super::super) across: Vec<(f64, String)>,
    /// What the horizontal axis counts.
    pub(in super::super) across_name: &'static str,
    /// The unit of the vertical axis.
    pub(in super::super) unit: Unit,
    /// The curves.
    pub(in super::super) lines: Vec<Line>,
}

/// A curve.
#[derive(Debug)]
pub(in super::super) struct Line {
    /// Whose.
    pub(in super::super) variant: Variant,
    /// Its points: from 0.0 to 1.0 across, and the value.
    pub(in super::super) points: Vec<(f64, f64)>,
}

/// Pixels of the drawing above its axis, and of the axis.
const HEIGHT: usize = 190;
const AXIS: usize = 40;
/// Units of the nested drawing, whose numbers are whole that way.
const FINE: f64 = 1_000.0;

impl Lines {
    /// The vertical axis.
    pub(in super::super) fn scale(&self) -> Scale {
        let points = self.lines.iter().flat_map(|line| &line.points);
        Scale::of(points.map(|(_, value)| *value))
    }

    /// Draws it.
    pub(in super::super) fn draw(&self) -> Markup {
        let scale = self.scale();
        let inner = html! {
            @for tick in scale.ticks() {
                @let y = (1.0 - scale.place(tick)) * HEIGHT as f64;
                line.grid x1="0" x2="100%" y1={ (format!("{y:.1}")) } y2={ (format!("{y:.1}")) } {}
                text.tick x="-8" y={ (format!("{:.1}", y + 4.0)) } text-anchor="end" {
                    (tick_text(tick, self.unit))
                }
            }
            @for (place, text) in &self.across {
                @let x = percent(*place);
                line.grid x1=(x) x2=(x) y1="0" y2=(HEIGHT + 4) {}
                text.tick x=(x) y=(HEIGHT + 18) text-anchor=(anchor(*place)) { (text) }
            }
            text.tick x="50%" y=(HEIGHT + 35) text-anchor="middle" { (self.across_name) }
            svg width="100%" height=(HEIGHT) viewBox={ "0 0 " (FINE) " " (FINE) }
                preserveAspectRatio="none" overflow="visible" {
                @for line in &self.lines {
                    path class={ "curve " (class(line.variant)) } d=(path(line, scale)) {
                        title { (line.variant) }
                    }
                }
            }
        };
        html! { div.plot.lines { (drawing(&self.about, HEIGHT + AXIS, &inner)) } }
    }
}

fn path(line: &Line, scale: Scale) -> String {
    let mut out = String::new();
    for (n, (across, value)) in line.points.iter().enumerate() {
        let letter = if n == 0 { 'M' } else { 'L' };
        let y = (1.0 - scale.place(*value)) * FINE;
        out.push_str(&format!("{letter}{:.0} {y:.0}", across * FINE));
    }
    out
}

//! A row for each run, a dot for each variant: values that span decades have no bars, whose
//! length would mean nothing without a zero.

use maud::{Markup, html};

use super::mark::shape;
use super::{About, Scale, anchor, class, drawing, percent, tick_text};
use crate::figures::Unit;
use crate::subject::Variant;

/// The chart.
#[derive(Debug)]
pub(in super::super) struct Dots {
    /// What it says of itself.
    pub(in super::super) about: About,
    /// The unit of its axis.
    pub(in super::super) unit: Unit,
    /// Its rows, from above.
    pub(in super::super) rows: Vec<Row>,
}

/// A row.
#[derive(Debug)]
pub(in super::super) struct Row {
    /// What it is about.
    pub(in super::super) label: String,
    /// Its dots.
    pub(in super::super) dots: Vec<Dot>,
}

/// A value, with a second one that a line is drawn to.
#[derive(Debug)]
pub(in super::super) struct Dot {
    /// Whose.
    pub(in super::super) variant: Variant,
    /// The value.
    pub(in super::super) value: f64,
    /// Another one, such as a higher percentile.
    pub(in super::super) upto: Option<f64>,
    /// Both, as people read them.
    pub(in super::super) text: String,
}

/// Pixels of a row, and of the axis, which is above and below.
const ROW: usize = 40;
const AXIS: usize = 24;

impl Dots {
    /// The axis that all its values are on.
    pub(in super::super) fn scale(&self) -> Scale {
        let dots = self.rows.iter().flat_map(|row| &row.dots);
        Scale::of(dots.flat_map(|dot| [Some(dot.value), dot.upto]).flatten())
    }

    /// Draws it.
    pub(in super::super) fn draw(&self) -> Markup {
        let scale = self.scale();
        let bottom = AXIS + self.rows.len() * ROW;
        let inner = html! {
            @for tick in scale.ticks() {
                @let x = percent(scale.place(tick));
                line.grid x1=(x) x2=(x) y1=(AXIS - 6) y2=(bottom) {}
                @for y in [AXIS - 10, bottom + 16] {
                    text.tick x=(x) y=(y) text-anchor=(anchor(scale.place(tick))) {
                        (tick_text(tick, self.unit))
                    }
                }
            }
            @for (n, row) in self.rows.iter().enumerate() {
                @let y = AXIS + n * ROW;
                line.track x1="0" x2="100%" y1=(y + 28) y2=(y + 28) {}
                text.row x="0" y=(y + 14) { (row.label) }
                @for dot in &row.dots {
                    g class=(class(dot.variant)) {
                        title { (dot.variant) ": " (dot.text) }
                        @if let Some(upto) = dot.upto {
                            line.reach x1=(percent(scale.place(dot.value)))
                                x2=(percent(scale.place(upto))) y1=(y + 28) y2=(y + 28) {}
                        }
                        svg x=(percent(scale.place(dot.value))) y=(y + 28) overflow="visible" {
                            path d=(shape(dot.variant)) {}
                        }
                    }
                }
            }
        };
        html! { div.plot.dots { (drawing(&self.about, bottom + AXIS, &inner)) } }
    }
}

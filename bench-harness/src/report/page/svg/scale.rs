//! Axes: where a value is, and which values are written.

use crate::figures::{self, Unit};

/// An axis from its least to its greatest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Scale {
    /// Equal distances are equal differences; from zero.
    Linear {
        /// The end of the axis.
        most: f64,
        /// The distance between two ticks.
        step: f64,
    },
    /// Equal distances are equal ratios; between two powers of ten.
    Log {
        /// The exponent at which it begins.
        from: i32,
        /// The exponent at which it ends.
        to: i32,
    },
}

/// Ratios from which on an axis is logarithmic.
const DECADES: f64 = 20.0;
/// Ticks that an axis has at most: a phone is not wider.
const TICKS: usize = 6;

impl Scale {
    /// An axis for these values: logarithmic where they span decades.
    pub(in super::super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite()) {
            most = most.max(value);
            if value > 0.0 {
                least = least.min(value);
            }
        }
        if most > 0.0 && most / least >= DECADES {
            let from = least.log10().floor() as i32;
            let to = (most.log10().ceil() as i32).max(from + 1);
            return Self::Log { from, to };
        }
        let step = nice(most / (TICKS - 2) as f64);
        Self::Linear {
            most: ((most / step).ceil() * step).max(step),
            step,
        }
    }

    /// Where a value is, from 0.0 to 1.0; what is off the axis is at its end.
    pub(in super::super) fn place(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { most, .. } => value / most,
            Self::Log { .. } if value <= 0.0 => 0.0,
            Self::Log { from, to } => (value.log10() - f64::from(from)) / f64::from(to - from),
        };
        share.clamp(0.0, 1.0)
    }

    /// The values to write at the axis.
    pub(in super::super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { most, step } => {
                let count = (most / step).round() as usize;
                (0..=count).map(|n| n as f64 * step).collect()
            }
            Self::Log { from, to } => {
                let every = (to - from).unsigned_abs() as usize / TICKS + 1;
                (from..=to).step_by(every).map(|n| 10_f64.powi(n)).collect()
            }
        }
    }

    /// What the reader must know of it.
    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear scale from zero",
            Self::Log { .. } => "logarithmic scale",
        }
    }
}

/// The least of 1, 2 and 5 times a power of ten that is no less.
fn nice(least: f64) -> f64 {
    if least <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * power)
}

/// A tick's value, without the zeros that say nothing.
pub(in super::super) fn tick_text(value: f64, unit: Unit) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let text = figures::format(value, unit);
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{number} {unit}").trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_span_decades_have_a_logarithmic_axis() {
        let scale = Scale::of([3e6, 2e9].into_iter());
        assert_eq!(scale, Scale::Log { from: 6, to: 10 });
        assert_eq!(scale.ticks(), [1e6, 1e7, 1e8, 1e9, 1e10]);
        assert_eq!((scale.place(1e8), scale.place(0.0)), (0.5, 0.0));
    }

    #[test]
    fn others_have_one_from_zero_with_round_ticks() {
        let scale = Scale::of([30.0, 47.0].into_iter());
        assert_eq!(
            scale,
            Scale::Linear {
                most: 60.0,
                step: 20.0
            }
        );
        assert_eq!(scale.ticks(), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(Scale::of(std::iter::empty()).place(1.0), 1.0);
    }

    #[test]
    fn ticks_are_short() {
        assert_eq!(tick_text(1e7, Unit::Bytes), "10 MB");
        assert_eq!(tick_text(1e3, Unit::Nanos), "1 µs");
        assert_eq!(tick_text(0.0, Unit::Bytes), "0");
        assert_eq!(tick_text(1.25e9, Unit::Bytes), "1.25 GB");
    }
}

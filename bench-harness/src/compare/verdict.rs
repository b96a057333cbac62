//! What is said of one figure.

use serde::Serialize;

use super::bootstrap::{self, Interval};
use crate::figures::{Better, Judged, Nature};

/// Repetitions that each run must have before anything is said of what is measured. Of two
/// runs that are the same, one has all of its values beyond all of the other's in 1 of 3
/// cases with two repetitions, in 1 of 10 with three, and in 1 of 126 with five.
const FEWEST: usize = 5;
/// The confidence with which a figure must have changed. Hundreds are judged at once: one of them in a hundred would be called changed each time.
const CHANGED: f64 = 0.999;
/// The confidence of the noise that the change must exceed.
const NOISE: f64 = 0.95;

/// What came of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is better, beyond noise and tolerance.
    Improved,
    /// It is worse, beyond noise and tolerance.
    Regressed,
    /// Whatever the noise hides is within the tolerance.
    Unchanged,
    /// Neither can be said.
    Inconclusive,
}

/// One run's values of a figure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    /// The value; of repetitions, their median.
    pub(super) value: f64,
    /// Each repetition's; empty where there was one.
    pub(super) repeats: &'a [f64],
}

impl Values<'_> {
    fn sample(&self) -> &[f64] {
        match self.repeats {
            [] => std::slice::from_ref(&self.value),
            repeats => repeats,
        }
    }
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// What is said.
    pub verdict: Verdict,
    /// New over base; `None` where base is 0.
    pub ratio: Option<f64>,
    /// Between which ratios it is, with a confidence of 99.9 %; `None` where that is unknown.
    pub interval: Option<Interval>,
    /// The share that a change has to exceed: the tolerance or the noise, whichever is more.
    pub threshold: f64,
    /// Why nothing can be said, if that is not the noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
}

/// Judges a figure. `refused` is why the runs cannot be compared in it, if they cannot.
pub(super) fn judge(
    judged: Judged,
    base: Values<'_>,
    new: Values<'_>,
    refused: Option<&'static str>,
) -> Judgement {
    let repeats = base.repeats.len().min(new.repeats.len());
    let measured = judged.nature == Nature::Measured;
    let noise = [base, new]
        .map(|side| bootstrap::noise(side.sample(), NOISE))
        .into_iter()
        .fold(0.0, f64::max);
    let mut out = Judgement {
        verdict: Verdict::Inconclusive,
        ratio: (base.value != 0.0).then(|| new.value / base.value),
        interval: None,
        threshold: judged.tolerance.max(noise),
        why: refused,
    };
    if refused.is_some() {
        return out;
    }
    if measured && repeats < FEWEST {
        out.why = Some("not repeated often enough");
        return out;
    }
    out.interval = bootstrap::ratio(base.sample(), new.sample(), CHANGED);
    let Some(interval) = out.interval else {
        out.verdict = without_ratio(judged, base.value, new.value);
        out.why = (out.verdict == Verdict::Inconclusive).then_some("no ratio: not above zero");
        return out;
    };
    // From here on, more is worse.
    let [low, high] = match judged.better {
        Better::Lower => interval,
        Better::Higher => [1.0 / interval[1], 1.0 / interval[0]],
    };
    let worse = match judged.better {
        Better::Lower => new.value / base.value,
        Better::Higher => base.value / new.value,
    };
    let limit = 1.0 + out.threshold;
    out.verdict = if low > 1.0 && worse > limit {
        Verdict::Regressed
    } else if high < 1.0 && worse < 1.0 / limit {
        Verdict::Improved
    } else if low >= 1.0 / (1.0 + judged.tolerance) && high <= 1.0 + judged.tolerance {
        Verdict::Unchanged
    } else {
        Verdict::Inconclusive
    };
    out
}

/// Where a value is zero: something that was not there before is worse, or better. Of what
/// is measured that may be noise.
fn without_ratio(judged: Judged, base: f64, new: f64) -> Verdict {
    let measured = judged.nature == Nature::Measured;
    match (base, new, judged.better) {
        _ if base == new => Verdict::Unchanged,
        _ if measured || base < 0.0 || new < 0.0 => Verdict::Inconclusive,
        (0.0, _, Better::Lower) | (_, 0.0, Better::Higher) => Verdict::Regressed,
        (0.0, _, Better::Higher) | (_, 0.0, Better::Lower) => Verdict::Improved,
        _ => Verdict::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::median;
    use crate::workload::Rng;

    const TIME: Judged = Judged {
        better: Better::Lower,
        nature: Nature::Measured,
        tolerance: 0.05,
    };
    const BYTES: Judged = Judged {
        better: Better::Lower,
        nature: Nature::Deterministic,
        tolerance: 0.01,
    };

    fn of(judged: Judged, base: &[f64], new: &[f64]) -> Verdict {
        fn side(repeats: &[f64]) -> Values<'_> {
            let value = median(&mut repeats.to_vec()).unwrap();
            let repeats = if repeats.len() > 1 { repeats } else { &[] };
            Values { value, repeats }
        }
        judge(judged, side(base), side(new), None).verdict
    }

    #[test]
    fn a_time_needs_repetitions() {
        assert_eq!(of(TIME, &[100.0], &[300.0]), Verdict::Inconclusive);
        assert_eq!(of(TIME, &[100.0; 4], &[300.0; 4]), Verdict::Inconclusive);
        assert_eq!(of(TIME, &[100.0; 5], &[300.0; 5]), Verdict::Regressed);
    }

    #[test]
    fn a_change_beyond_noise_is_told_with_its_direction() {
        let base = [100.0, 103.0, 98.0, 101.0, 99.0];
        let slow = base.map(|value| value * 1.5);
        assert_eq!(of(TIME, &base, &slow), Verdict::Regressed);
        assert_eq!(of(TIME, &slow, &base), Verdict::Improved);
        let throughput = Judged {
            better: Better::Higher,
            ..TIME
        };
        assert_eq!(of(throughput, &base, &slow), Verdict::Improved);
        assert_eq!(of(throughput, &slow, &base), Verdict::Regressed);
    }

    #[test]
    fn a_change_within_the_noise_or_the_tolerance_is_none() {
        let loud = [100.0, 160.0, 70.0, 130.0, 85.0];
        let louder = loud.map(|value| value * 1.2);
        assert_eq!(of(TIME, &loud, &louder), Verdict::Inconclusive);
        let quiet = [100.0, 100.1, 99.9, 100.0, 100.2];
        let nearly = quiet.map(|value| value * 1.02);
        assert_eq!(of(TIME, &quiet, &nearly), Verdict::Unchanged);
    }

    #[test]
    fn bytes_need_no_repetitions() {
        assert_eq!(of(BYTES, &[1_000.0], &[1_100.0]), Verdict::Regressed);
        assert_eq!(of(BYTES, &[1_000.0], &[1_005.0]), Verdict::Unchanged);
        assert_eq!(of(BYTES, &[1_000.0], &[900.0]), Verdict::Improved);
        assert_eq!(of(BYTES, &[0.0], &[1.0]), Verdict::Regressed);
        assert_eq!(of(BYTES, &[0.0], &[0.0]), Verdict::Unchanged);
        assert_eq!(of(TIME, &[0.0; 5], &[1.0; 5]), Verdict::Inconclusive);
    }

    #[test]
    fn what_cannot_be_compared_is_inconclusive_and_says_why() {
        let value = |value| Values {
            value,
            repeats: &[],
        };
        let judgement = judge(BYTES, value(1.0), value(2.0), Some("other work"));
        assert_eq!(judgement.verdict, Verdict::Inconclusive);
        assert_eq!(
            (judgement.ratio, judgement.why),
            (Some(2.0), Some("other work"))
        );
    }

    /// A/A: two samples of one distribution are rarely called different, however loud.
    #[test]
    fn runs_that_are_the_same_are_not_called_different() {
        let mut rng = Rng::at(&[41]);
        // Log-normal times, as latencies are, the logarithm near enough normal as a sum of
        // twelve uniform numbers.
        let mut sample = |spread: f64, count: usize| -> Vec<f64> {
            let mut normal = || (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
            (0..count)
                .map(|_| (normal() * spread).exp() * 250.0)
                .collect()
        };
        for (count, most) in [(5, 2), (9, 2)] {
            for spread in [0.02, 0.1, 0.4] {
                let differs = |_: &usize| {
                    let verdict = of(TIME, &sample(spread, count), &sample(spread, count));
                    matches!(verdict, Verdict::Improved | Verdict::Regressed)
                };
                let called = (0..200).filter(differs).count();
                assert!(called <= most, "{called} of 200 at {count} × {spread}");
            }
        }
    }
}

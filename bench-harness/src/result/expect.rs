//! Holds results against the budgets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::figures::{self, Unit};
use crate::scenario::Expectation;
use crate::subject::BackendKind;

/// A budget and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// What is expected, in words.
    pub name: String,
    /// How the figure was made, such as `default.put_p50_ns / floor.put_p50_ns`.
    pub formula: String,
    /// `<=` or `>=`.
    pub comparison: String,
    /// The limit.
    pub limit: f64,
    /// What was measured; `None` if it was not.
    pub measured: Option<f64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Met,
    /// It does not.
    Missed,
    /// A figure is missing.
    NotMeasured,
}

/// Holds the figures against the expectations that are about this backend.
pub fn evaluate(
    expectations: &[Expectation],
    backend: BackendKind,
    figures: &BTreeMap<String, f64>,
) -> Vec<Expected> {
    let concerned = |expectation: &&Expectation| {
        expectation.backends.is_empty() || expectation.backends.contains(&backend)
    };
    expectations
        .iter()
        .filter(concerned)
        .map(|expectation| one(expectation, figures))
        .collect()
}

fn one(expectation: &Expectation, figures: &BTreeMap<String, f64>) -> Expected {
    let get = |name: &str| figures.get(name).copied();
    let mut formula = expectation.figure.clone();
    let mut measured = get(&expectation.figure);
    if let Some(minus) = &expectation.minus {
        formula = format!("({formula} - {} * {})", minus.times, minus.figure);
        measured = measured
            .zip(get(&minus.figure))
            .map(|(a, b)| a - b * minus.times);
    }
    if let Some(over) = &expectation.over {
        formula = format!("{formula} / {over}");
        measured = measured
            .zip(get(over))
            .filter(|(_, b)| *b != 0.0)
            .map(|(a, b)| a / b);
    }
    let (comparison, limit) = match (expectation.at_most, expectation.at_least) {
        (Some(limit), _) => ("<=", limit),
        (None, limit) => (">=", limit.unwrap_or(f64::NEG_INFINITY)),
    };
    let outcome = match measured {
        None => Outcome::NotMeasured,
        Some(value)
            if (comparison == "<=" && value <= limit) || (comparison == ">=" && value >= limit) =>
        {
            Outcome::Met
        }
        Some(_) => Outcome::Missed,
    };
    Expected {
        name: expectation.name.clone(),
        formula,
        comparison: comparison.into(),
        limit,
        measured,
        outcome,
    }
}

impl Expected {
    /// The unit of limit and measurement.
    fn unit(&self) -> Unit {
        let ratio = self.formula.contains(" / ");
        let figure = self
            .formula
            .trim_start_matches('(')
            .split(' ')
            .next()
            .unwrap_or_default();
        if ratio {
            Unit::Ratio
        } else {
            figures::unit(figure).unwrap_or(Unit::Ratio)
        }
    }

    /// The limit as people read it, such as `<= 4.10 KB`.
    pub fn limit_text(&self) -> String {
        format!(
            "{} {}",
            self.comparison,
            figures::format(self.limit, self.unit())
        )
    }

    /// The measurement as people read it.
    pub fn measured_text(&self) -> String {
        let text = |value| figures::format(value, self.unit());
        self.measured.map_or_else(|| "not measured".into(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scaled;

    fn expectation() -> Expectation {
        Expectation {
            name: "x".into(),
            figure: "default.load_latest_mean_ns".into(),
            minus: None,
            over: None,
            at_most: Some(10.0),
            at_least: None,
            backends: vec![],
        }
    }

    fn outcome(expectation: Expectation, figures: &[(&str, f64)]) -> (Option<f64>, Outcome) {
        let figures = figures
            .iter()
            .map(|(name, value)| (name.to_string(), *value))
            .collect();
        let mut all = evaluate(&[expectation], BackendKind::File, &figures);
        let one = all.remove(0);
        (one.measured, one.outcome)
    }

    #[test]
    fn figures_are_combined_and_compared() {
        let load = ("default.load_latest_mean_ns", 30.0);
        let floor = ("floor.load_latest_mean_ns", 4.0);
        let decoded = ("default.load_latest_mb_mean", 2.0);
        assert_eq!(
            outcome(expectation(), &[load]),
            (Some(30.0), Outcome::Missed)
        );
        let ratio = Expectation {
            minus: Some(Scaled {
                figure: decoded.0.into(),
                times: 5.0,
            }),
            over: Some(floor.0.into()),
            ..expectation()
        };
        assert_eq!(
            outcome(ratio.clone(), &[load, floor, decoded]),
            (Some(5.0), Outcome::Met)
        );
        assert_eq!(
            outcome(ratio, &[load, decoded]),
            (None, Outcome::NotMeasured)
        );
        let least = Expectation {
            at_most: None,
            at_least: Some(30.0),
            ..expectation()
        };
        assert_eq!(outcome(least, &[load]).1, Outcome::Met);
    }

    #[test]
    fn an_expectation_of_another_backend_is_left_out() {
        let other = Expectation {
            backends: vec![BackendKind::Memory],
            ..expectation()
        };
        assert!(evaluate(&[other], BackendKind::File, &BTreeMap::new()).is_empty());
    }

    #[test]
    fn limits_have_units() {
        let expected = one(&expectation(), &BTreeMap::new());
        assert_eq!(expected.limit_text(), "<= 10 ns");
        assert_eq!(expected.measured_text(), "not measured");
    }
}

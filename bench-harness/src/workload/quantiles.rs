//! Distributions given as a few points of their quantile function.

use serde::{Deserialize, Serialize};

use super::rng::Rng;

/// A distribution of positive whole numbers, such as bytes: ascending points
/// (share of draws, value), the first at share 0 and the last at 1. Between two
/// points the value's logarithm is interpolated, which suits sizes.
///
/// In TOML: `[[0.0, 38], [0.5, 120], [0.9, 193], [1.0, 346]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, f64)>", into = "Vec<(f64, f64)>")]
pub struct Quantiles(Vec<(f64, f64)>);

impl Quantiles {
    /// The value below which `share` of the draws lie.
    pub fn value(&self, share: f64) -> usize {
        let Some(after) = self.0.iter().position(|&(at, _)| at >= share) else {
            return self.most();
        };
        let (x1, y1) = self.0[after];
        let Some(&(x0, y0)) = after.checked_sub(1).and_then(|before| self.0.get(before)) else {
            return y1 as usize;
        };
        let part = (share - x0) / (x1 - x0);
        (y0.ln() + (y1.ln() - y0.ln()) * part).exp().round() as usize
    }

    /// One draw.
    pub fn draw(&self, rng: &mut Rng) -> usize {
        self.value(rng.unit())
    }

    /// The greatest value.
    pub fn most(&self) -> usize {
        self.0.last().map_or(0, |&(_, value)| value as usize)
    }
}

impl TryFrom<Vec<(f64, f64)>> for Quantiles {
    type Error = String;

    fn try_from(points: Vec<(f64, f64)>) -> Result<Self, String> {
        let ends = (points.first().map(|p| p.0), points.last().map(|p| p.0));
        if points.len() < 2 || ends != (Some(0.0), Some(1.0)) {
            return Err("a distribution needs a point at share 0 and one at share 1".into());
        }
        if points
            .iter()
            .any(|&(_, value)| value.is_nan() || value < 1.0)
        {
            return Err("a distribution's values must be at least 1".into());
        }
        if points
            .windows(2)
            .any(|w| w[0].0 >= w[1].0 || w[0].1 > w[1].1)
        {
            return Err("a distribution's shares must ascend and its values not descend".into());
        }
        Ok(Self(points))
    }
}

impl From<Quantiles> for Vec<(f64, f64)> {
    fn from(quantiles: Quantiles) -> Self {
        quantiles.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_between_points() {
        let q = Quantiles::try_from(vec![(0.0, 10.0), (0.5, 100.0), (1.0, 1000.0)]).unwrap();
        assert_eq!((q.value(0.0), q.value(0.25), q.value(0.5)), (10, 32, 100));
        assert_eq!((q.value(1.0), q.most()), (1000, 1000));
    }

    #[test]
    fn refuses_what_is_no_distribution() {
        for bad in [
            vec![(0.0, 1.0)],
            vec![(0.1, 1.0), (1.0, 2.0)],
            vec![(0.0, 0.0), (1.0, 2.0)],
            vec![(0.0, 3.0), (1.0, 2.0)],
            vec![(0.0, 1.0), (0.5, 2.0), (0.5, 2.0), (1.0, 2.0)],
        ] {
            assert!(Quantiles::try_from(bad).is_err());
        }
    }
}

//! How far the ratio of two medians may be off.
//!
//! The percentile bootstrap (Efron, "Bootstrap methods: another look at the jackknife",
//! 1979): both samples are drawn again with replacement, and the interval is between two
//! percentiles of the ratios that can come out. It assumes no distribution, which suits
//! latencies. Of a median nothing need be drawn: how likely it is to be each of the sample's
//! values is known exactly (the same, section 3), so a comparison says the same each time.
//!
//! Of five repetitions or fewer, an interval of 99.9 % leaves 1 out where every
//! repetition of one run is beyond every one of the other.

/// From and to.
pub(super) type Interval = [f64; 2];

/// The interval that holds the ratio of the medians, `new` over `base`, with a confidence
/// such as 0.99. `None` if a sample is empty or has values that no ratio can be made of.
pub(super) fn ratio(base: &[f64], new: &[f64], confidence: f64) -> Option<Interval> {
    if base.iter().chain(new).any(|&value| value <= 0.0) {
        return None;
    }
    let (base, new) = (medians(base), medians(new));
    let mut ratios: Vec<(f64, f64)> = new
        .iter()
        .flat_map(|(new, likely)| {
            base.iter()
                .map(move |(base, also)| (new / base, likely * also))
        })
        .collect();
    ratios.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    // Sums of many small numbers are not exact: the last one stands for what is missing.
    let (last, _) = *ratios.last()?;
    let at = |share: f64| {
        let mut sum = 0.0;
        let found = ratios.iter().find(|(_, likely)| {
            sum += likely;
            sum >= share
        });
        found.map_or(last, |(ratio, _)| *ratio)
    };
    let tail = (1.0 - confidence) / 2.0;
    Some([at(tail), at(1.0 - tail)])
}

/// By which share the medians of two runs differ that are the same, as the repetitions of
/// one run tell: an A/A test of it. 0 if they tell nothing.
pub(super) fn noise(repeats: &[f64], confidence: f64) -> f64 {
    ratio(repeats, repeats, confidence).map_or(0.0, |[_, most]| most - 1.0)
}

/// The values of a sample in their order, with how likely the median of a sample drawn from
/// it is to be each. The median is the lower of the middle two, as everywhere here.
fn medians(sample: &[f64]) -> Vec<(f64, f64)> {
    let mut values = sample.to_vec();
    values.sort_by(f64::total_cmp);
    let count = values.len();
    // That at least half of the draws are among the first `rank` values.
    let up_to = |rank: usize| {
        let among = rank as f64 / count as f64;
        at_least(count.div_ceil(2), count, among)
    };
    let likely = |(at, value)| (value, up_to(at + 1) - up_to(at));
    values.into_iter().enumerate().map(likely).collect()
}

/// How likely at least `least` of `count` independent events are that have a `chance` each.
fn at_least(least: usize, count: usize, chance: f64) -> f64 {
    if chance <= 0.0 || chance >= 1.0 {
        return chance;
    }
    // By logarithms, as the number of ways is too large a number for many repetitions.
    let mut ways = 0.0;
    let mut sum = 0.0;
    for hits in 0..=count {
        if hits > 0 {
            ways += ((count - hits + 1) as f64 / hits as f64).ln();
        }
        if hits >= least {
            let misses = (count - hits) as f64;
            sum += (ways + hits as f64 * chance.ln() + misses * (1.0 - chance).ln()).exp();
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_three_draws_is_as_likely_each_value_as_counting_says() {
        // Of 27 draws of three out of three, 7 have the least as their median.
        let likely: Vec<_> = medians(&[3.0, 1.0, 2.0]).into_iter().collect();
        for ((value, likely), (expected, of_27)) in
            likely
                .into_iter()
                .zip([(1.0, 7.0), (2.0, 13.0), (3.0, 7.0)])
        {
            assert_eq!(value, expected);
            assert!((likely - of_27 / 27.0).abs() < 1e-12, "{value}: {likely}");
        }
        let sum: f64 = medians(&[1.0; 2_000])
            .iter()
            .map(|(_, likely)| likely)
            .sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn the_interval_holds_the_ratio() {
        let base = [100.0, 102.0, 98.0, 101.0, 99.0];
        let new = [150.0, 153.0, 147.0, 151.0, 149.0];
        let [low, high] = ratio(&base, &new, 0.99).unwrap();
        assert!(low > 1.4 && low < 1.5 && high > 1.5 && high < 1.6);
    }

    #[test]
    fn without_noise_it_is_a_point_and_without_values_none() {
        assert_eq!(ratio(&[2.0], &[3.0], 0.99), Some([1.5, 1.5]));
        assert_eq!(ratio(&[], &[3.0], 0.99), None);
        assert_eq!(ratio(&[0.0, 1.0], &[3.0], 0.99), None);
        assert_eq!(noise(&[5.0, 5.0, 5.0], 0.95), 0.0);
    }

    #[test]
    fn noise_grows_with_the_spread() {
        let quiet = noise(&[100.0, 101.0, 99.0, 100.0, 100.5], 0.95);
        let loud = noise(&[100.0, 140.0, 80.0, 120.0, 90.0], 0.95);
        assert!(quiet < 0.03 && loud > 0.3, "{quiet} {loud}");
    }
}

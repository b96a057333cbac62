//! Random numbers that are the same on every machine and in every version.
//!
//! The generator's output is part of what a result means, so its random numbers
//! cannot come from a crate that may change them. This is SplitMix64 (Steele, Lea
//! and Flood, "Fast splittable pseudorandom number generators", 2014): a counter
//! and a mixing function, so that any position of a workload has a stream of its
//! own without drawing the ones before it.

/// The odd constant that SplitMix64 advances by: 2^64 over the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The stream at the position that `path` names, such as (seed, conversation,
    /// message). Different paths give unrelated streams.
    pub fn at(path: &[u64]) -> Self {
        let mut state = GAMMA;
        for &part in path {
            state = mix(state ^ mix(part.wrapping_add(GAMMA))).wrapping_add(GAMMA);
        }
        Self { state }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// A number in `0..below`; 0 if `below` is 0.
    pub fn below(&mut self, below: usize) -> usize {
        // Multiply-shift; its bias is under 2^-32 for every size used here.
        ((u128::from(self.bits()) * below as u128) >> 64) as usize
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Puts them in a random order (Durstenfeld's form of the Fisher-Yates shuffle).
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }

    /// One of `choices`; `None` if there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_differ_by_path() {
        let draw = |path: &[u64]| {
            let mut rng = Rng::at(path);
            [rng.bits(), rng.bits(), rng.bits()]
        };
        assert_eq!(draw(&[1, 2, 3]), draw(&[1, 2, 3]));
        assert_ne!(draw(&[1, 2, 3]), draw(&[1, 3, 2]));
        assert_ne!(draw(&[1, 2]), draw(&[1, 2, 0]));
    }

    #[test]
    fn mixing_is_splitmix64() {
        // The first outputs of the published reference for seed 0.
        let mut rng = Rng { state: 0 };
        assert_eq!(rng.bits(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(rng.bits(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn below_and_unit_stay_in_range() {
        let mut rng = Rng::at(&[7]);
        for _ in 0..1_000 {
            assert!(rng.below(3) < 3);
            assert!((0.0..1.0).contains(&rng.unit()));
        }
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.pick::<u8>(&[]), None);
    }
}

//! Counts and random numbers of tests that run short among the others and long on their own.

#![expect(clippy::print_stdout, reason = "a person who runs it for long wants to have the seed")]

/// How much is done, from a variable of the environment.
///
/// # Panics
/// The variable holds no number.
#[must_use]
pub fn count(name: &str, few: u64) -> u64 {
    std::env::var(name).ok().map_or(few, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Numbers that differ from run to run, and can be had again from the seed that is printed.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Starts with the seed of `TIDELOCK_SOAK_SEED`, or with one of its own.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it reads the environment, which nobody expects of a default")]
    pub fn new() -> Self {
        let seed = count("TIDELOCK_SOAK_SEED", u64::from(std::process::id()) << 16 | 1);
        println!("TIDELOCK_SOAK_SEED={seed}");
        Self(seed)
    }

    /// A number below `bound`. Xorshift64, as Marsaglia's "Xorshift RNGs" (2003) has it.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

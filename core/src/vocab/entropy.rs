//! Random tokens from a seed: branches, tags, Call-IDs, SSRCs, history keys.
//!
//! Cores own no randomness. The shell seeds one source from the operating system and forks it; tests seed it
//! with a constant, so that the same seed gives the same ladder, octet for octet.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A deterministic, cryptographically strong source (`ChaCha12`).
#[derive(Debug, Clone)]
pub struct Entropy(ChaCha12Rng);

impl Entropy {
    /// From 32 octets; production takes them from the operating system, once.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// For tests and simulations: a seed that is easy to write down.
    pub fn from_number(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// An independent source for another owner.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        Self::from_seed(seed)
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 128 random bits.
    pub fn next_u128(&mut self) -> u128 {
        (u128::from(self.0.next_u64()) << 64) | u128::from(self.0.next_u64())
    }

    /// A number below `bound` (at least 1); the bias of one 64-bit draw is far below anything we measure.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    /// `octets` random octets as lower-case hex: tags, branches (after the magic cookie) and Call-IDs.
    pub fn hex(&mut self, octets: usize) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(octets * 2);
        let mut left = octets;
        while left > 0 {
            let mut word = self.0.next_u64();
            for _ in 0..left.min(8) {
                text.push(char::from(DIGITS[(word & 0xf) as usize]));
                text.push(char::from(DIGITS[(word >> 4 & 0xf) as usize]));
                word >>= 8;
            }
            left -= left.min(8);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let (mut a, mut b) = (Entropy::from_number(7), Entropy::from_number(7));
        assert_eq!(a.hex(16), b.hex(16));
        assert_eq!(a.fork().next_u64(), b.fork().next_u64());
        assert_eq!(a.hex(5).len(), 10);
    }

    #[test]
    fn a_fork_does_not_repeat_its_parent() {
        let mut parent = Entropy::from_number(1);
        let mut child = parent.fork();
        assert_ne!(parent.hex(16), child.hex(16));
    }
}

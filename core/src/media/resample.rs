//! Resampling between the wire's 8 kHz and the agent's rate, as a stream: any chunk size in, nothing lost between.
//!
//! rubato's synchronous FFT resampler in blocks of 10 ms with a Hann² window: 5 ms of delay, flat to 3.4 kHz, and
//! exactly 320 samples for each 160 at 16 kHz. Between two equal rates it is a copy.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use super::levels;
use crate::vocab::SampleRate;

/// One direction of one call.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    engine: Option<Engine>,
    taken: u64,
    given: u64,
}

struct Engine {
    fft: Box<Fft<f32>>,
    /// Input short of a block.
    carry: Vec<f32>,
    output: Vec<f32>,
}

impl std::fmt::Debug for Resampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resampler({} -> {})", self.from.hz(), self.to.hz())
    }
}

impl Resampler {
    /// A resampler; allocates all it will ever need.
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        Self {
            from,
            to,
            engine: (from != to).then(|| Engine::new(from, to)).flatten(),
            taken: 0,
            given: 0,
        }
    }

    /// Resamples `input` and appends what is ready to `output`.
    pub fn process(&mut self, input: &[i16], output: &mut Vec<i16>) {
        let Some(engine) = &mut self.engine else {
            output.extend_from_slice(input);
            return;
        };
        let before = output.len();
        let block = block(self.from);
        for chunk in input.chunks(block) {
            let missing = block - engine.carry.len();
            let (now, later) = chunk.split_at(chunk.len().min(missing));
            engine
                .carry
                .extend(now.iter().map(|sample| to_float(*sample)));
            if engine.carry.len() == block {
                engine.run(output);
            }
            engine
                .carry
                .extend(later.iter().map(|sample| to_float(*sample)));
        }
        self.taken += input.len() as u64;
        self.given += (output.len() - before) as u64;
    }

    /// Samples, at the output rate, that went in and have not come out: the carry and the filter's delay.
    pub fn pending(&self) -> usize {
        if self.engine.is_none() || self.taken == 0 {
            return 0;
        }
        let (from, to) = (u64::from(self.from.hz()), u64::from(self.to.hz()));
        let due = (self.taken * to).div_ceil(from) + self.delay() as u64;
        usize::try_from(due.saturating_sub(self.given)).unwrap_or(0)
    }

    /// The end of a run: appends all that is pending, as if silence followed, and begins anew.
    pub fn flush(&mut self, output: &mut Vec<i16>) {
        let end = output.len() + self.pending();
        let silence = [0; 96];
        while output.len() < end {
            self.process(&silence[..block(self.from).min(silence.len())], output);
        }
        output.truncate(end);
        self.reset();
    }

    /// Forgets everything, the tail included: what comes next has nothing to do with what came before.
    pub fn reset(&mut self) {
        self.taken = 0;
        self.given = 0;
        if let Some(engine) = &mut self.engine {
            engine.carry.clear();
            engine.fft.reset();
        }
    }

    /// Delay of the filter in samples of the output rate: 5 ms, or none between equal rates.
    pub fn delay(&self) -> usize {
        self.engine
            .as_ref()
            .map_or(0, |engine| engine.fft.output_delay())
    }
}

impl Engine {
    fn new(from: SampleRate, to: SampleRate) -> Option<Self> {
        let hz = |rate: SampleRate| rate.frame_len() * 50;
        let block_in = block(from);
        // Fails only for rates and sizes of zero.
        let fft = Fft::new_custom(
            hz(from),
            hz(to),
            block_in,
            1,
            1,
            WindowFunction::Hann2,
            FixedSync::Input,
        )
        .ok()?;
        Some(Self {
            output: vec![0.0; fft.output_frames_max()],
            fft: Box::new(fft),
            carry: Vec::with_capacity(block_in),
        })
    }

    /// Resamples the full carry.
    fn run(&mut self, output: &mut Vec<i16>) {
        let frames = self.output.len();
        let input = InterleavedSlice::new(&self.carry, 1, self.carry.len());
        let room = InterleavedSlice::new_mut(&mut self.output, 1, frames);
        let done = match (input, room) {
            (Ok(input), Ok(mut room)) => self.fft.process_into_buffer(&input, &mut room, None).ok(),
            _ => None,
        };
        let written = done.map_or(0, |(_, written)| written);
        output.extend(
            self.output[..written]
                .iter()
                .map(|sample| levels::quantise(*sample)),
        );
        self.carry.clear();
    }
}

/// Resamples a whole recording of any rate; nothing is delayed. Empty when `from_hz` is 0.
pub fn whole(samples: &[i16], from_hz: u32, to: SampleRate) -> Vec<i16> {
    if from_hz == to.hz() || samples.is_empty() {
        return samples.to_vec();
    }
    let from = usize::try_from(from_hz).unwrap_or(0);
    let input: Vec<f32> = samples.iter().map(|sample| to_float(*sample)).collect();
    let hz = to.frame_len() * 50;
    let fft = Fft::<f32>::new_custom(
        from,
        hz,
        1024,
        1,
        1,
        WindowFunction::BlackmanHarris2,
        FixedSync::Input,
    );
    let input = InterleavedSlice::new(&input, 1, input.len());
    let (Ok(mut fft), Ok(input)) = (fft, input) else {
        return Vec::new();
    };
    match fft.process_all(&input, samples.len(), None) {
        Ok(output) => output
            .take_data()
            .into_iter()
            .map(levels::quantise)
            .collect(),
        Err(_) => Vec::new(),
    }
}

/// Samples of 10 ms.
fn block(rate: SampleRate) -> usize {
    rate.frame_len() / 2
}

fn to_float(sample: i16) -> f32 {
    f32::from(sample)
}

#[cfg(test)]
mod tests;

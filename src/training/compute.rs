//! What a training computes on.

use super::TrainError;
use candle_core::Device;
use std::fmt;
use std::str::FromStr;

/// A processor to train on. The two GPUs are there in programs built with the feature of their
/// name; the CPU always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compute {
    /// The CPU, by kernels of our own: the same weights, bit for bit, from the same seed.
    #[default]
    Cpu,
    /// The first Nvidia GPU: the last digits differ from the CPU's, and may from run to run.
    Cuda,
    /// The first Apple GPU; likewise.
    Metal,
}

impl Compute {
    /// All.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Cuda, Self::Metal];

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    /// Checks that the program is built for it.
    ///
    /// # Errors
    /// It is not.
    pub fn check(self) -> Result<(), TrainError> {
        let built = match self {
            Self::Cpu => true,
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Metal => cfg!(feature = "metal"),
        };
        let why = || format!("this program is built without it (cargo feature `{self}`)");
        if built {
            Ok(())
        } else {
            Err(self.refuse(why()))
        }
    }

    /// Takes hold of it.
    ///
    /// # Errors
    /// The program is built without it, or the machine has none.
    pub fn device(self) -> Result<Device, TrainError> {
        self.check()?;
        let device = match self {
            Self::Cpu => Ok(Device::Cpu),
            // One stream for all threads: those of a thread each do not wait for one another.
            Self::Cuda => Device::new_cuda_with_stream(0),
            Self::Metal => Device::new_metal(0),
        };
        device.map_err(|e| self.refuse(format!("there is none: {e}")))
    }

    fn refuse(self, allowed: String) -> TrainError {
        TrainError::Option {
            field: "device",
            was: self.to_string(),
            allowed,
        }
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compute {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        let known = || Self::ALL.map(Self::name).join(", ");
        all.find(|compute| compute.name() == name)
            .ok_or_else(|| format!("one of {} is needed", known()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_what_is_not_is_said() {
        assert!(Compute::Cpu.device().is_ok());
        for compute in [Compute::Cuda, Compute::Metal] {
            assert_eq!(compute.name().parse(), Ok(compute));
            if let Err(error) = compute.device() {
                let told = error.to_string();
                assert!(told.starts_with(&format!("device: {compute}; ")), "{told}");
            }
        }
        let told = Compute::from_str("tpu").unwrap_err();
        assert_eq!(told, "one of cpu, cuda, metal is needed");
    }
}

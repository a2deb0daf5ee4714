//! Which file it is.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The first 64 bits of a file's BLAKE3 hash; written as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() != 16 {
            let told = format!("{text:?}; 16 hexadecimal digits are needed");
            return Err(serde::de::Error::custom(told));
        }
        let bits = u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_sixteen_digits() {
        let print = Fingerprint(0x00ab_0000_0000_0001);
        assert_eq!(
            serde_json::to_string(&print).unwrap(),
            "\"00ab000000000001\""
        );
        let again = serde_json::from_str::<Fingerprint>("\"00ab000000000001\"").unwrap();
        assert_eq!(again, print);
        for wrong in ["\"ab\"", "\"+0ab00000000000g\"", "7"] {
            assert!(serde_json::from_str::<Fingerprint>(wrong).is_err());
        }
    }
}

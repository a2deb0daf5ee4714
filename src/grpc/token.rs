//! Opaque page tokens: where the page before ended, and a check that we made them.

use crate::domain::Invalid;
use std::fmt::Write;
use xxhash_rust::xxh3::xxh3_64;

fn seal(list: &str, end: &str) -> u64 {
    xxh3_64(format!("{list}\0{end}").as_bytes())
}

/// The token of the page after `end`; `list` is what is listed.
pub(super) fn make(list: &str, end: &str) -> String {
    let mut token = format!("{:016x}", seal(list, end));
    for byte in end.bytes() {
        // Writing to a string cannot fail.
        let _ = write!(token, "{byte:02x}");
    }
    token
}

/// Where the page before ended; `None` for the first page.
pub(super) fn read(list: &str, token: &str) -> Result<Option<String>, Invalid> {
    if token.is_empty() {
        return Ok(None);
    }
    let bad = || {
        Invalid::new(
            "page_token",
            format!("{token:?}"),
            "the next_page_token of the page before is allowed, with the same list",
        )
    };
    let (check, hex) = token.split_at_checked(16).ok_or_else(bad)?;
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
    let end = bytes
        .and_then(|b| String::from_utf8(b).ok())
        .ok_or_else(bad)?;
    if u64::from_str_radix(check, 16) != Ok(seal(list, &end)) {
        return Err(bad());
    }
    Ok(Some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_ours_or_refused() {
        let token = make("items of a", "🦀");
        assert_eq!(read("items of a", &token).unwrap().unwrap(), "🦀");
        assert!(read("items of b", &token).is_err());
        assert_eq!(read("x", "").unwrap(), None);
        for bad in ["x", "zz", "0123456789abcdef", &token[..20]] {
            assert!(read("items of a", bad).is_err(), "{bad}");
        }
    }
}

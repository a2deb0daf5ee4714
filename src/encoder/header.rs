//! A weights file's header, looked at before it is parsed: JSON takes many times its size.

use super::Error;

/// Largest header of a weights file, in bytes; ours have less than 8 KiB.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Checks that a file has a safetensors header of a size worth parsing.
pub(super) fn check(file: &[u8]) -> Result<(), Error> {
    let Some(length) = file.first_chunk::<8>() else {
        let why = format!("{} bytes; the header takes at least 8", file.len());
        return Err(Error::NotSafetensors(why));
    };
    let bytes = u64::from_le_bytes(*length);
    if bytes > MAX_HEADER_BYTES {
        let allowed = format!("at most {MAX_HEADER_BYTES} bytes are allowed");
        let why = format!("its header is {bytes} bytes; {allowed}");
        return Err(Error::NotSafetensors(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_bounded_before_they_are_read() {
        let told = |file: &[u8]| check(file).unwrap_err().to_string();
        assert!(told(b"").contains("0 bytes"));
        assert!(told(&[1; 7]).contains("7 bytes"));
        assert!(told(&u64::MAX.to_le_bytes()).contains("18446744073709551615 bytes"));
        let largest = MAX_HEADER_BYTES.to_le_bytes();
        assert!(check(&largest).is_ok());
        assert!(told(&(MAX_HEADER_BYTES + 1).to_le_bytes()).contains("at most 1048576"));
    }
}

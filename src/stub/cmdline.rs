//! The few words of the kernel's command line that the boot stub obeys.
//!
//! `core` alone: the boot stub compiles this file too.

/// The words of a command line; a quoted blank does not end one.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    text.split(move |byte| {
        quoted ^= *byte == b'"';
        !quoted && byte.is_ascii_whitespace()
    })
}

/// Is `word` one of the words?
pub fn has(text: &[u8], word: &[u8]) -> bool {
    words(text).any(|found| found == word)
}

/// What stands behind `name`, which ends in `=`, each time.
pub fn values<'t>(text: &'t [u8], name: &[u8]) -> impl Iterator<Item = &'t [u8]> {
    words(text).filter_map(move |word| word.strip_prefix(name))
}

/// What stands behind `name`, which ends in `=`, where it comes last.
pub fn value<'t>(text: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    values(text, name).last()
}

/// A number of bytes as the kernel's `memparse()` reads it: decimal, octal with a leading 0, hexadecimal with 0x; then
/// perhaps K, M, G, T, P or E. `None` without a digit, and when it does not fit 64 bits.
pub fn size(text: &[u8]) -> Option<u64> {
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        [b'0', b'0'..=b'7', ..] => (8, text),
        _ => (10, text),
    };
    let mut number: u64 = 0;
    let mut rest = digits;
    while let [digit, behind @ ..] = rest {
        let Some(value) = char::from(*digit).to_digit(radix) else { break };
        number = number.checked_mul(u64::from(radix))?.checked_add(u64::from(value))?;
        rest = behind;
    }
    if rest.len() == digits.len() {
        return None;
    }
    let shift = match rest.first().map(u8::to_ascii_uppercase) {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        Some(b'T') => 40,
        Some(b'P') => 50,
        Some(b'E') => 60,
        _ => 0,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_values() {
        let text = b"console=ttyS0 mem=64M dyndbg=\"a nokaslr b\"  mem=1G nosmp";
        assert!(has(text, b"nosmp") && !has(text, b"nokaslr") && !has(text, b"smp"));
        assert_eq!(value(text, b"mem="), Some(&b"1G"[..]));
        assert_eq!(value(text, b"memmap="), None);
        assert_eq!(value(b"", b"mem="), None);
    }

    #[test]
    fn sizes() {
        for (text, want) in [
            (&b"64M"[..], Some(64 << 20)),
            (b"0x10k", Some(16 << 10)),
            (b"010", Some(8)),
            (b"0", Some(0)),
            (b"2G@1G", Some(2 << 30)),
            (b"nopentium", None),
            (b"", None),
            (b"0x", None),
            (b"99999999999999999999", None),
            (b"16E", None),
        ] {
            assert_eq!(size(text), want, "{}", String::from_utf8_lossy(text));
        }
    }
}

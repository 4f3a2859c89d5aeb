//! XXH64 with seed 0 (xxhash_spec.md 0.2.0), for zstd's checksums, and for payloads that have none of their own.

const PRIMES: [u64; 5] =
    [0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63, 0x27d4_eb2f_1656_67c5];

fn round(sum: u64, word: u64) -> u64 {
    sum.wrapping_add(word.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

pub fn xxh64(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let (stripes, words) = words.as_chunks::<4>();
    let mut sum = PRIMES[4];
    if !stripes.is_empty() {
        let mut sums = [PRIMES[0].wrapping_add(PRIMES[1]), PRIMES[1], 0, PRIMES[0].wrapping_neg()];
        for stripe in stripes {
            for (sum, word) in sums.iter_mut().zip(stripe) {
                *sum = round(*sum, u64::from_le_bytes(*word));
            }
        }
        let turned = sums.iter().zip([1, 7, 12, 18]).map(|(sum, by)| sum.rotate_left(by));
        sum = sums.iter().fold(turned.fold(0, u64::wrapping_add), |sum, one| {
            (sum ^ round(0, *one)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3])
        });
    }
    sum = sum.wrapping_add(bytes.len() as u64);
    for word in words {
        sum =
            (sum ^ round(0, u64::from_le_bytes(*word))).rotate_left(27).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        sum ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIMES[0]);
        sum = sum.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
    }
    for byte in rest {
        sum = (sum ^ u64::from(*byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    sum = (sum ^ sum >> 33).wrapping_mul(PRIMES[1]);
    sum = (sum ^ sum >> 29).wrapping_mul(PRIMES[2]);
    sum ^ sum >> 32
}

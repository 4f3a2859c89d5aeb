//! What the registers (PCRs) of a TPM come to: events, extensions, policies and signatures of these.
//!
//! Source: TCG PC Client Platform Firmware Profile 1.06, section 10.4 (events); TPM 2.0 Library 1.59, part 3, 22.2 (`TPM2_PCR_Extend`) and
//! 23.7 (`TPM2_PolicyPCR`); systemd-measure 252 to 262 for the form of the signatures.

use crate::bytes::hex;
use crate::sign::{Algorithm, Error, Mechanism, PublicKey, Request, Scheme, Signer};
use base64ct::{Base64, Encoding};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt::Write;

/// The banks of registers, in the order of systemd-measure, each with its number (`TPM_ALG_ID`).
pub(crate) const BANKS: [(Algorithm, u16); 4] =
    [(Algorithm::Sha1, 4), (Algorithm::Sha256, 11), (Algorithm::Sha384, 12), (Algorithm::Sha512, 13)];

/// A value for each bank that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PerBank(pub(crate) Vec<(Algorithm, Vec<u8>)>);

impl PerBank {
    /// Registers after a reset.
    pub(crate) fn zero(banks: &[Algorithm]) -> PerBank {
        PerBank(banks.iter().map(|bank| (*bank, vec![0; bank.hash(&[]).len()])).collect())
    }

    /// The hashes of these bytes, one behind the other, and of `zeros` zeros behind them; several at a time of much data.
    pub(crate) fn hash(banks: &[Algorithm], parts: &[&[u8]], zeros: u64) -> PerBank {
        const BLOCK: &[u8] = &[0; 1 << 16];
        const ALONE: u64 = 1 << 20;
        let block = crate::bytes::len64(BLOCK);
        let mut parts = parts.to_vec();
        parts.extend((0..zeros / block).map(|_| BLOCK));
        parts.extend(crate::bytes::slice(BLOCK, 0, zeros % block));
        let len: u64 = parts.iter().map(|part| crate::bytes::len64(part)).sum();
        if len < ALONE {
            return PerBank(banks.iter().map(|bank| (*bank, bank.hash_all(&parts))).collect());
        }
        std::thread::scope(|scope| {
            let work = |bank: Algorithm| {
                (
                    bank,
                    scope.spawn({
                        let parts = &parts;
                        move || bank.hash_all(parts)
                    }),
                )
            };
            let threads: Vec<_> = banks.iter().map(|bank| work(*bank)).collect();
            // A thread that did not end well leaves its work to this one.
            let join = |(bank, thread): (Algorithm, std::thread::ScopedJoinHandle<'_, Vec<u8>>)| {
                (bank, thread.join().unwrap_or_else(|_| bank.hash_all(&parts)))
            };
            PerBank(threads.into_iter().map(join).collect())
        })
    }

    /// The register's value becomes the hash of itself and this digest.
    pub(crate) fn extend(&mut self, digests: &PerBank) {
        for ((bank, value), (_, digest)) in self.0.iter_mut().zip(&digests.0) {
            *value = bank.hash_all(&[value, digest]);
        }
    }
}

/// Hexadecimal, by the names of the banks.
impl Serialize for PerBank {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (bank, value) in &self.0 {
            map.serialize_entry(bank.name(), &hex(value))?;
        }
        map.end()
    }
}

/// What is done to a register.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Event {
    /// The register.
    pub(crate) pcr: u32,
    /// The profile of a unified kernel image at whose boot it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<usize>,
    /// Of several device trees that wait for their hardware, the one that is found, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dtbauto: Option<usize>,
    /// Its type in the log; `phase` for what systemd extends in user space.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// The text in the log.
    pub(crate) event: String,
    /// What was hashed, in words.
    pub(crate) of: String,
    pub(crate) digests: PerBank,
    /// The register's value then.
    pub(crate) values: PerBank,
}

/// The policy that one register of a bank has this value: that of a new session after `TPM2_PolicyPCR`, by SHA-256.
pub(crate) fn policy(bank: Algorithm, pcr: u32, value: &[u8]) -> Vec<u8> {
    const TPM_CC_POLICY_PCR: u32 = 0x17f;
    let id = BANKS.iter().find(|(one, _)| *one == bank).map_or(0, |(_, id)| *id);
    // TPML_PCR_SELECTION of one bank: its number, bytes of the bitmap, the bitmap.
    let [a, b, c, _] = 1_u32.checked_shl(pcr).unwrap_or(0).to_le_bytes();
    let mut selection = 1_u32.to_be_bytes().to_vec();
    selection.extend(id.to_be_bytes());
    selection.extend([3, a, b, c]);
    let digest = Algorithm::Sha256.hash(value);
    Algorithm::Sha256.hash_all(&[&[0; 32], &TPM_CC_POLICY_PCR.to_be_bytes(), &selection, &digest])
}

/// What signs policies, and its public key.
pub(crate) type PolicyKey<'k> = (&'k dyn Signer, &'k PublicKey);

/// Signatures of policies, by bank: what stands in `.pcrsig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PolicySignatures(Vec<(&'static str, Vec<String>)>);

impl PolicySignatures {
    /// Adds those of these values of a register; what is there already is signed once.
    ///
    /// # Errors
    /// [`Error::OtherKey`] for a key that is not RSA: TPMs and systemd check nothing else here. [`Error`] of what signs.
    pub(crate) fn sign(&mut self, pcr: u32, values: &PerBank, key: PolicyKey<'_>) -> Result<(), Error> {
        let (signer, public) = key;
        let scheme = Scheme::of(Algorithm::Sha256, public)?;
        let Some(pkcs1) = public.pkcs1().filter(|_| scheme.mechanism == Mechanism::RsaPkcs1) else {
            return Err(Error::OtherKey { key: public.name(), wanted: "rsa2048".to_owned() });
        };
        let fingerprint = hex(&Algorithm::Sha256.hash(&pkcs1));
        for (bank, value) in &values.0 {
            let policy = policy(*bank, pcr, value);
            let digest = Algorithm::Sha256.hash(&policy);
            let begin = format!("{{\"pcrs\": [{pcr}], \"pkfp\": \"{fingerprint}\", \"pol\": \"{}\", ", hex(&policy));
            let index = self.0.iter().position(|(name, _)| *name == bank.name());
            let index = index.unwrap_or_else(|| {
                self.0.push((bank.name(), Vec::new()));
                self.0.len() - 1
            });
            let Some((_, entries)) = self.0.get_mut(index) else { continue };
            if entries.iter().any(|entry| entry.starts_with(&begin)) {
                continue;
            }
            let request = Request { subject: "pcrsig".to_owned(), key: String::new(), scheme, digest };
            let value = signer.sign(&request)?.value;
            entries.push(format!("{begin}\"sig\": \"{}\"}}", Base64::encode_string(&value)));
        }
        Ok(())
    }

    /// How many policies are signed.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|(_, entries)| entries.len()).sum()
    }

    /// JSON as ukify writes it.
    pub(crate) fn text(&self) -> String {
        let mut text = "{".to_owned();
        for (index, (bank, entries)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}\"{bank}\": [{}]", entries.join(", "));
        }
        text + "}"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// go-ukify's known policies of PCR 11 after each phase, without a section (pkg/measure/pcr/pcr_test.go).
    #[test]
    fn known_policies() {
        let wanted = [
            ("enter-initrd", "7c8486f61cc1d88a28d6ab87850bee07c467ce6311340219e43a7a6e6521e543"),
            ("leave-initrd", "7474e6080ddc5355c6087db4272c7d8a6871a7c83a54694369561253f08fd3f1"),
            ("sysinit", "8fac790c125cc6c82b372714c8ecf83784523c05c5b78b37b1aae05521b7ec3e"),
            ("ready", "53f5e6ee03093e2fb1ea9d1351952a33ce381ae93bef210abb764941be8d8ec6"),
        ];
        let banks = [Algorithm::Sha256];
        let mut register = PerBank::zero(&banks);
        for (word, want) in wanted {
            register.extend(&PerBank::hash(&banks, &[word.as_bytes()], 0));
            assert_eq!(hex(&policy(Algorithm::Sha256, 11, &register.0[0].1)), want, "{word}");
        }
    }

    #[test]
    fn much_data_is_hashed_alike() {
        let banks = BANKS.map(|(bank, _)| bank);
        let data = vec![7; 3 << 20];
        let whole = [&data[..], &vec![0; 70_000]].concat();
        let wanted = banks.iter().map(|bank| (*bank, bank.hash(&whole))).collect();
        assert_eq!(PerBank::hash(&banks, &[&data[..5], &data[5..]], 70_000), PerBank(wanted));
    }
}

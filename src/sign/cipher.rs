//! Encryption, by the names that U-Boot has for it: AES in CBC mode, padded as PKCS#7 says.
//!
//! Source: U-Boot's boot/image-cipher.c and lib/aes/aes-encrypt.c; NIST SP 800-38A, RFC 5652 section 6.3.

use super::Error;
use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};

/// Bytes of the first value that a block is mixed with, and of a block.
pub(crate) const IV_LEN: usize = 16;

/// What encrypting and decrypting ask for: the caller has the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secret<'n> {
    /// The key or initialization vector of this name: mkimage's file NAME.bin.
    Named(&'n str),
    /// So many random bytes.
    Random(usize),
}

/// Who gives secrets.
pub type Secrets<'k> = dyn Fn(Secret<'_>) -> Result<Vec<u8>, Error> + 'k;

/// A cipher of a FIT: `algo` of a node `cipher`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    Aes128,
    Aes192,
    Aes256,
}

impl Cipher {
    const ALL: [Cipher; 3] = [Cipher::Aes128, Cipher::Aes192, Cipher::Aes256];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Cipher::Aes128 => "aes128",
            Cipher::Aes192 => "aes192",
            Cipher::Aes256 => "aes256",
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Cipher, Error> {
        let found = Cipher::ALL.into_iter().find(|cipher| cipher.name() == name);
        found.ok_or_else(|| Error::Cipher { name: name.to_owned() })
    }

    /// Bytes of its key.
    pub(crate) fn key_len(self) -> usize {
        match self {
            Cipher::Aes128 => 16,
            Cipher::Aes192 => 24,
            Cipher::Aes256 => 32,
        }
    }

    /// The key called `name`, whose length is the cipher's.
    pub(crate) fn key(self, secrets: &Secrets<'_>, name: &str) -> Result<Vec<u8>, Error> {
        of_length(secrets(Secret::Named(name))?, self.key_len(), name)
    }

    /// `data` encrypted: 1 to 16 bytes longer, to a multiple of 16.
    pub(crate) fn encrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, Error> {
        fn of<C: KeyIvInit + BlockEncryptMut>(key: &[u8], iv: &[u8], data: &[u8]) -> Option<Vec<u8>> {
            Some(C::new_from_slices(key, iv).ok()?.encrypt_padded_vec_mut::<Pkcs7>(data))
        }
        let encrypted = match self {
            Cipher::Aes128 => of::<cbc::Encryptor<Aes128>>(key, iv, data),
            Cipher::Aes192 => of::<cbc::Encryptor<Aes192>>(key, iv, data),
            Cipher::Aes256 => of::<cbc::Encryptor<Aes256>>(key, iv, data),
        };
        encrypted.ok_or_else(|| self.wrong_length(key, iv))
    }

    /// `data` decrypted; `None` when its length or its padding is not what encrypting with this key and value makes.
    pub(crate) fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        fn of<C: KeyIvInit + BlockDecryptMut>(key: &[u8], iv: &[u8], data: &[u8]) -> Option<Option<Vec<u8>>> {
            Some(C::new_from_slices(key, iv).ok()?.decrypt_padded_vec_mut::<Pkcs7>(data).ok())
        }
        let decrypted = match self {
            Cipher::Aes128 => of::<cbc::Decryptor<Aes128>>(key, iv, data),
            Cipher::Aes192 => of::<cbc::Decryptor<Aes192>>(key, iv, data),
            Cipher::Aes256 => of::<cbc::Decryptor<Aes256>>(key, iv, data),
        };
        decrypted.ok_or_else(|| self.wrong_length(key, iv))
    }

    fn wrong_length(self, key: &[u8], iv: &[u8]) -> Error {
        let (name, found, wanted) = match key.len() == self.key_len() {
            true => ("iv", iv.len(), IV_LEN),
            false => ("key", key.len(), self.key_len()),
        };
        Error::SecretLength { name: name.to_owned(), found, wanted }
    }
}

/// The initialization vector called `name`.
pub(crate) fn named_iv(secrets: &Secrets<'_>, name: &str) -> Result<Vec<u8>, Error> {
    of_length(secrets(Secret::Named(name))?, IV_LEN, name)
}

fn of_length(bytes: Vec<u8>, wanted: usize, name: &str) -> Result<Vec<u8>, Error> {
    match bytes.len() == wanted {
        true => Ok(bytes),
        false => Err(Error::SecretLength { name: format!("{name}.bin"), found: bytes.len(), wanted }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-38A, F.2.1, F.2.3 and F.2.5: the first block of the examples, with a block of padding behind it.
    #[test]
    fn examples_of_the_standard() {
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
        };
        let iv: Vec<u8> = (0..16).collect();
        let text = bytes("6bc1bee22e409f96e93d7e117393172a");
        for (cipher, key, wanted) in [
            (Cipher::Aes128, "2b7e151628aed2a6abf7158809cf4f3c", "7649abac8119b246cee98e9b12e9197d"),
            (Cipher::Aes192, "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "4f021db243bc633d7178183a9fa071e8"),
            (
                Cipher::Aes256,
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                "f58c4c04d6e5f1ba779eabfb5f7bfbd6",
            ),
        ] {
            let key = bytes(key);
            let made = cipher.encrypt(&key, &iv, &text).unwrap();
            assert_eq!((&made[..16], made.len()), (&bytes(wanted)[..], 32));
            assert_eq!(cipher.decrypt(&key, &iv, &made).unwrap().as_deref(), Some(&text[..]));
            assert_eq!(cipher.decrypt(&key, &iv, &made[..16]).unwrap(), None);
            assert_eq!(cipher.decrypt(&key, &iv, &made[..30]).unwrap(), None);
            assert!(matches!(cipher.encrypt(&key[1..], &iv, &text), Err(Error::SecretLength { .. })));
            assert!(matches!(cipher.decrypt(&key, &iv[1..], &made), Err(Error::SecretLength { .. })));
        }
    }
}

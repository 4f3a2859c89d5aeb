//! Encrypted images: their data, and the keys that control device trees have for them.
//!
//! U-Boot decrypts what has a node `cipher`, after it has compared the hashes, which are those of the encrypted bytes. What comes
//! out is cut to `data-size-unciphered`; that property says that the data is encrypted.
//!
//! Source: U-Boot's tools/image-host.c (`fit_image_process_cipher`), lib/aes/aes-encrypt.c (`image_aes_add_cipher_data`) and
//! boot/image-cipher.c.

use super::control::{self, Entry};
use super::{Fit, Image, rules};
use crate::bytes::{FieldError, count64};
use crate::finding::Finding;
use crate::format::fdt::{Node, Property, Tree};
use crate::sign::{Cipher, Error, IV_LEN, Secret, Secrets, named_iv};
use std::collections::HashMap;
use std::fmt;

/// The node that asks for encryption.
pub(crate) const CIPHER: &str = "cipher";

/// How many bytes there were before; with it the data is encrypted.
pub(crate) const PLAIN_SIZE: &str = "data-size-unciphered";

/// Where the initialization vector is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Iv {
    /// In the control device tree, and in the file of this name.
    Named(String),
    /// In the node.
    Here,
}

/// An image that was encrypted.
#[derive(Debug)]
pub(super) struct Encrypted {
    /// The node's `iv`, where it is to have one.
    pub(super) iv: Option<Property<'static>>,
    pub(super) data: Vec<u8>,
    pub(super) handed: ControlCipher,
}

/// What a control device tree gets to decrypt an image: the key itself, for all to see.
#[derive(Debug)]
pub(super) struct ControlCipher {
    pub(super) cipher: Cipher,
    pub(super) hint: String,
    named: Option<(String, Vec<u8>)>,
    key: Vec<u8>,
}

/// `key-name-hint` and `iv-name-hint`.
fn names(text: impl Fn(&str) -> Option<String>) -> Result<(Cipher, String, Iv), Error> {
    let cipher = Cipher::from_name(&text("algo").unwrap_or_default())?;
    let lacks = || Error::NotFound { name: "of the cipher".to_owned(), why: "there is no key-name-hint".to_owned() };
    let key = text("key-name-hint").filter(|name| !name.is_empty()).ok_or_else(lacks)?;
    Ok((cipher, key, text("iv-name-hint").map_or(Iv::Here, Iv::Named)))
}

/// What a control device tree calls the node with the key.
fn entry_name(cipher: Cipher, hint: &str, iv: Option<&str>) -> String {
    let iv = iv.map_or(String::new(), |name| format!("-{name}"));
    format!("key-{}-{hint}{iv}", cipher.name())
}

/// A control device tree's keys of ciphers, by the names of their nodes: `key` and `iv`, where it has them.
#[derive(Clone, Default)]
pub(crate) struct ControlKeys(HashMap<String, [Option<Vec<u8>>; 2]>);

impl fmt::Debug for ControlKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ControlKeys {
    /// Those of this tree.
    ///
    /// # Errors
    /// A [`FieldError`] for an overlay that puts nothing into the root.
    pub(crate) fn of(tree: &Tree<'_>) -> Result<Self, FieldError> {
        let mut keys = HashMap::new();
        for node in control::root_of(tree)?.child(CIPHER).iter().flat_map(|group| group.children()) {
            let bytes = ["key", "iv"].map(|name| node.property(name).map(|it| it.value.to_vec()));
            // Of two of one name the first is found.
            keys.entry(node.name().to_owned()).or_insert(bytes);
        }
        Ok(ControlKeys(keys))
    }

    /// Has it none at all?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Encrypts `data` as the node asks for.
pub(super) fn encrypt(node: &Node<'_>, data: &[u8], secrets: &Secrets<'_>) -> Result<Encrypted, Error> {
    let (cipher, hint, iv) = names(|name| Some(node.property(name)?.as_string()?.to_owned()))?;
    let key = cipher.key(secrets, &hint)?;
    let (iv, named) = match iv {
        Iv::Named(name) => {
            let bytes = named_iv(secrets, &name)?;
            (bytes.clone(), Some((name, bytes)))
        }
        // mkimage makes a new one always; one that is given gives the same bytes again.
        Iv::Here => match node.property("iv") {
            Some(given) => (given.value.to_vec(), None),
            None => (secrets(Secret::Random(IV_LEN))?, None),
        },
    };
    let data = cipher.encrypt(&key, &iv, data)?;
    let iv = named.is_none().then(|| Property::bytes("iv", iv));
    Ok(Encrypted { iv, data, handed: ControlCipher { cipher, hint, named, key } })
}

impl ControlCipher {
    /// What the control device tree gets.
    pub(super) fn entry(&self) -> Entry {
        let name = entry_name(self.cipher, &self.hint, self.named.as_ref().map(|(name, _)| &**name));
        let iv = self.named.iter().map(|(_, iv)| Property::bytes("iv", iv.clone()));
        let key_len = Property::u32("key-len", u32::try_from(self.key.len()).unwrap_or(0));
        let properties = iv.chain([Property::bytes("key", self.key.clone()), key_len]).collect();
        Entry { group: CIPHER, name, properties }
    }
}

impl<'a> Image<'_, 'a> {
    /// How many bytes it has when it is decrypted; `None` when it is not encrypted.
    pub(crate) fn plain_size(&self) -> Option<u64> {
        self.node().property(PLAIN_SIZE)?.number()
    }

    /// Its data, decrypted. The inner error says what does not fit together.
    pub(crate) fn decrypted(&self, secrets: &Secrets<'_>) -> Result<Result<Vec<u8>, String>, Error> {
        let Some(node) = self.node().child(CIPHER) else { return Ok(Err("it has no node cipher".to_owned())) };
        let (cipher, hint, iv) = names(|name| Some(node.property(name)?.string()?.to_owned()))?;
        let key = cipher.key(secrets, &hint)?;
        let iv = match iv {
            Iv::Named(name) => named_iv(secrets, &name)?,
            Iv::Here => match node.property("iv") {
                Some(iv) => iv.value.to_vec(),
                None => return Ok(Err("it has no iv: nobody can decrypt it".to_owned())),
            },
        };
        self.opened(cipher, &hint, [&key, &iv])
    }

    /// Its data, decrypted as by a U-Boot that has these keys: the finding says why it is not.
    ///
    /// Stricter than U-Boot, which looks at no lengths and no padding.
    pub(crate) fn decrypted_by(&self, keys: &ControlKeys) -> Result<Vec<u8>, Box<Finding>> {
        let at = self.node().at().0;
        let wrong = |why: &str| Box::new(rules::DECRYPTED.finding(format!("image {}: {why}", self.name())).at(at));
        let node = self.node().child(CIPHER).ok_or_else(|| wrong("it has no node cipher"))?;
        let found = names(|name| Some(node.property(name)?.string()?.to_owned()));
        let (cipher, hint, iv) = found.map_err(|error| wrong(&error.to_string()))?;
        let name = entry_name(cipher, &hint, if let Iv::Named(name) = &iv { Some(name) } else { None });
        let lacks = |what: &str| {
            let message = format!("image {}: the control device tree has no {what}", self.name());
            Box::new(rules::CIPHER_KEY.finding(message).at(node.at().0))
        };
        let [key, named] = keys.0.get(&name).ok_or_else(|| lacks(&format!("node /{CIPHER}/{name}")))?;
        let key = key.as_deref().ok_or_else(|| lacks(&format!("key in /{CIPHER}/{name}")))?;
        // The image's own comes first.
        let iv = match (node.property("iv"), iv) {
            (Some(iv), _) => iv.value,
            (None, Iv::Named(_)) => named.as_deref().ok_or_else(|| lacks(&format!("iv in /{CIPHER}/{name}")))?,
            (None, Iv::Here) => return Err(wrong("it has no iv: nobody can decrypt it")),
        };
        let plain = self.opened(cipher, &hint, [key, iv]).map_err(|error| wrong(&error.to_string()))?;
        plain.map_err(|why| wrong(&why))
    }

    /// Its data, decrypted with this key and initialization vector.
    fn opened(&self, cipher: Cipher, hint: &str, [key, iv]: [&[u8]; 2]) -> Result<Result<Vec<u8>, String>, Error> {
        let Some(data) = self.data() else { return Ok(Err("its data is not all there".to_owned())) };
        let found = cipher.decrypt(key, iv, data)?;
        Ok(match (found, self.plain_size()) {
            (None, _) => Err(format!("the key {hint} does not decrypt it: the padding is wrong")),
            (Some(plain), Some(size)) if count64(plain.len()) != size => {
                Err(format!("decrypted with the key {hint} it has {} bytes, wanted {size}", plain.len()))
            }
            (Some(plain), _) => Ok(plain),
        })
    }
}

impl<'a> Fit<'a> {
    /// Its images that are encrypted.
    pub(crate) fn encrypted(&self) -> impl Iterator<Item = Image<'_, 'a>> {
        self.images().filter(|image| image.node().property(PLAIN_SIZE).is_some())
    }
}

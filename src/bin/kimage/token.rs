//! Keys on tokens, by PKCS#11.
//!
//! Source: RFC 7512 for the URIs, PKCS #11 3.1 for the attributes and mechanisms.

use crate::secret::{first_line, typed};
use anyhow::Result;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Cause, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::RawAuthPin;
use cryptoki_sys::{CK_ULONG, CKR_OK};
use kimage::assemble::Algorithm;
use kimage::sign::{self, Error, PublicKey, Request, Signature};
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The variable that names the module where the URI does not; OpenSSL's engine has it, which mkimage uses.
const MODULE: &str = "PKCS11_MODULE_PATH";

fn fail<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Token(why.into()))
}

/// What a URI says.
#[derive(Debug, Default)]
struct Uri {
    /// `token`, `manufacturer`, `model`, `serial` and `slot-id`.
    token: Vec<(String, String)>,
    object: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
    module: Option<PathBuf>,
    pin: Option<Vec<u8>>,
    pin_file: Option<PathBuf>,
}

/// `%41` is `A`.
fn decoded(text: &str) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        (rest, _) = match (first, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => (behind.get(2..).unwrap_or(&[]), out.push(byte)),
            (b'%', None) => return fail(format!("{text:?} in the key's URI has a % without two hexadecimal digits")),
            _ => (behind, out.push(*first)),
        };
    }
    Ok(out)
}

impl Uri {
    fn parse(uri: &str) -> Result<Uri, Error> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let path = path.strip_prefix("pkcs11:").unwrap_or(path);
        let mut found = Uri::default();
        for part in path.split(';').chain(query.split('&')).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = decoded(value)?;
            match name {
                "token" | "manufacturer" | "model" | "serial" | "slot-id" => {
                    found.token.push((name.to_owned(), text(value)));
                }
                "object" => found.object = Some(value),
                "id" => found.id = Some(value),
                "type" if matches!(&*value, b"private" | b"public") => {}
                "module-path" => found.module = Some(text(value).into()),
                "pin-value" => found.pin = Some(value),
                "pin-source" => {
                    let file = text(value);
                    if file.starts_with('|') {
                        return fail("pin-source of the key's URI is a command: give a file, or --pass-file");
                    }
                    found.pin_file = Some(file.strip_prefix("file:").unwrap_or(&file).into());
                }
                _ => {
                    let known = "token, manufacturer, model, serial, slot-id, object, id, type, module-path, pin-value, pin-source";
                    return fail(format!("the key's URI has {part:?}; known are {known}"));
                }
            }
        }
        Ok(found)
    }

    fn is_of(&self, info: &TokenInfo, slot: u64) -> bool {
        self.token.iter().all(|(name, wanted)| match name.as_str() {
            "token" => info.label() == wanted,
            "manufacturer" => info.manufacturer_id() == wanted,
            "model" => info.model() == wanted,
            "serial" => info.serial_number() == wanted,
            _ => wanted.parse() == Ok(slot),
        })
    }
}

/// The signature that has begun in this session: cryptoki begins a new one each time, for which no PIN was entered.
#[allow(unsafe_code, reason = "cryptoki has no C_Sign without C_SignInit")]
fn sign_begun(module: &Path, session: &Session, data: &[u8]) -> Result<Vec<u8>, String> {
    // More than any key's has.
    let mut value = vec![0; 4096];
    let mut len = CK_ULONG::try_from(value.len()).unwrap_or(0);
    let data_len = CK_ULONG::try_from(data.len()).unwrap_or(0);
    // SAFETY: the module is loaded already, and stays so while the session is open; what is loaded again is the same. Its list of functions
    // is its own and has what the standard says. Both buffers outlive the call, with their lengths beside them; C_Sign reads the first.
    let code = unsafe {
        let library = cryptoki_sys::Pkcs11::new(module).map_err(|error| error.to_string())?;
        let mut list = std::ptr::null_mut();
        let listed = if library.C_GetFunctionList.is_ok() { library.C_GetFunctionList(&mut list) } else { CKR_OK };
        let Some(sign) = list.as_ref().filter(|_| listed == CKR_OK).and_then(|list| list.C_Sign) else {
            return Err("the module has no C_Sign".to_owned());
        };
        sign(session.handle(), data.as_ptr().cast_mut(), data_len, value.as_mut_ptr(), &mut len)
    };
    if code != CKR_OK {
        return Err(format!("C_Sign says {code:#x}"));
    }
    value.truncate(usize::try_from(len).unwrap_or(0));
    Ok(value)
}

/// The tokens that are open.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    modules: RefCell<HashMap<PathBuf, Pkcs11>>,
    open: RefCell<HashMap<(PathBuf, u64), Rc<Open>>>,
}

#[derive(Debug)]
struct Open {
    module: PathBuf,
    session: Session,
    info: TokenInfo,
}

/// What a token did not do.
fn refused(what: &str, cause: &Cause) -> Error {
    Error::Token(match cause {
        Cause::Pkcs11(code, _) => format!("{what}: {code}"),
        cause => format!("{what}: {cause}"),
    })
}

impl Tokens {
    fn module(&self, path: &Path) -> Result<Pkcs11, Error> {
        if let Some(module) = self.modules.borrow().get(path) {
            return Ok(module.clone());
        }
        let name = path.display();
        let module = Pkcs11::new(path).map_err(|cause| match cause {
            Cause::LibraryLoading(why) => Error::Token(format!("the PKCS#11 module {name} cannot be loaded: {why}")),
            cause => refused(&format!("{name} is no PKCS#11 module"), &cause),
        })?;
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        module.initialize(arguments).map_err(|cause| refused(&format!("the PKCS#11 module {name}"), &cause))?;
        self.modules.borrow_mut().insert(path.to_owned(), module.clone());
        Ok(module)
    }

    /// A session with the token of the URI.
    fn open(&self, uri: &Uri) -> Result<Rc<Open>, Error> {
        let Some(path) = uri.module.clone().or(std::env::var_os(MODULE).map(PathBuf::from)) else {
            return fail(format!(
                "the key's URI names no PKCS#11 module: add ?module-path=FILE to it, or set {MODULE}"
            ));
        };
        let module = self.module(&path)?;
        let failed = |cause| refused(&format!("the PKCS#11 module {}", path.display()), &cause);
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for slot in module.get_slots_with_token().map_err(failed)? {
            match module.get_token_info(slot) {
                // SoftHSM has an empty one for the next to be made.
                Ok(info) if !info.token_initialized() => {}
                Ok(info) if uri.is_of(&info, slot.id()) => found.push((slot, info)),
                Ok(info) => others.push(format!("{:?}", info.label())),
                Err(cause) => others.push(cause.to_string()),
            }
        }
        // A module may give them in any order.
        others.sort();
        let [(slot, info)] = &*found else {
            let there = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            return match found.len() {
                0 => fail(format!("{} has no token that the key's URI names; there is {there}", path.display())),
                _ => fail("the key's URI fits several tokens: name one with token=, serial= or slot-id="),
            };
        };
        let key = (path.clone(), slot.id());
        if let Some(open) = self.open.borrow().get(&key) {
            return Ok(open.clone());
        }
        let session = module.open_ro_session(*slot).map_err(failed)?;
        let open = Rc::new(Open { module: path, session, info: info.clone() });
        self.open.borrow_mut().insert(key, open.clone());
        Ok(open)
    }

    /// The signature that the key of this URI makes. A URI without object and id is that of a token: the key is called as the
    /// request says.
    pub(crate) fn sign(&self, uri: &str, request: &Request, pin: Option<&[u8]>) -> Result<Signature, Error> {
        let uri = Uri::parse(uri)?;
        let open = self.open(&uri)?;
        open.log_in(&uri, pin)?;
        let key = open.key(&uri, &request.key, ObjectClass::PRIVATE_KEY)?;
        let Some(key) = key else { return open.lacks(&uri, &request.key, "private") };
        let public = open.public(&uri, &request.key)?;
        let (hash, mgf) = match request.scheme.hash {
            Algorithm::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
            Algorithm::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
            Algorithm::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
            _ => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        };
        let len = request.digest.len().try_into().map_err(|cause| refused("the hash", &cause))?;
        let mechanism = match request.scheme.mechanism {
            sign::Mechanism::RsaPkcs1 => Mechanism::RsaPkcs,
            sign::Mechanism::RsaPss => Mechanism::RsaPkcsPss(PkcsPssParams { hash_alg: hash, mgf, s_len: len }),
            sign::Mechanism::Ecdsa => Mechanism::Ecdsa,
        };
        let what = format!("the token {} does not sign", open.info.label());
        let refused = |cause| refused(&what, &cause);
        let value = if open.asks_each_time(key) {
            open.session.sign_init(&mechanism, key).map_err(refused)?;
            open.enter_pin(&uri, pin, UserType::ContextSpecific)?;
            sign_begun(&open.module, &open.session, &request.input()).or_else(|why| fail(format!("{what}: {why}")))?
        } else {
            open.session.sign(&mechanism, key, &request.input()).map_err(refused)?
        };
        request.answered(&value, public)
    }

    /// The public key of this URI.
    pub(crate) fn public(&self, uri: &str, name: &str) -> Result<PublicKey, Error> {
        let uri = Uri::parse(uri)?;
        self.open(&uri)?.public(&uri, name)
    }
}

impl Open {
    /// Enters the PIN, once.
    fn log_in(&self, uri: &Uri, given: Option<&[u8]>) -> Result<(), Error> {
        let is_in = self.session.get_session_info().is_ok_and(|info| {
            use cryptoki::session::SessionState::{RoUser, RwUser};
            matches!(info.session_state(), RoUser | RwUser)
        });
        if is_in || !self.info.login_required() {
            return Ok(());
        }
        self.enter_pin(uri, given, UserType::User)
    }

    /// Does the key want the PIN for each signature again?
    fn asks_each_time(&self, key: ObjectHandle) -> bool {
        self.attributes(key, &[AttributeType::AlwaysAuthenticate]).contains(&Attribute::AlwaysAuthenticate(true))
    }

    /// Enters the PIN: for all that is asked of the token, or for the signature that has begun.
    fn enter_pin(&self, uri: &Uri, given: Option<&[u8]>, user: UserType) -> Result<(), Error> {
        let name = self.info.label();
        let in_file = uri.pin_file.as_deref().map(first_line).transpose();
        let in_file = in_file.map_err(|error| Error::Token(format!("{error:#}")))?;
        let done = match uri.pin.clone().or(in_file).or(given.map(<[u8]>::to_vec)) {
            // The reader has keys of its own.
            None if self.info.protected_authentication_path() => self.session.login(user, None),
            pin => {
                let what = if matches!(user, UserType::ContextSpecific) { ", for this signature" } else { "" };
                let Some(pin) = pin.or_else(|| typed(&format!("PIN of the token {name}{what}: "))) else {
                    return fail(format!("the token {name} wants a PIN: give it with --pass-file"));
                };
                self.session.login_with_raw(user, &RawAuthPin::new(Box::new(pin)))
            }
        };
        match done {
            Ok(()) | Err(Cause::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(cause) => Err(refused(&format!("the token {name} does not take the PIN"), &cause)),
        }
    }

    fn attributes(&self, object: ObjectHandle, wanted: &[AttributeType]) -> Vec<Attribute> {
        self.session.get_attributes(object, wanted).unwrap_or_default()
    }

    /// The key of that class.
    fn key(&self, uri: &Uri, name: &str, class: ObjectClass) -> Result<Option<ObjectHandle>, Error> {
        let mut wanted = vec![Attribute::Class(class)];
        wanted.extend(uri.id.clone().map(Attribute::Id));
        match &uri.object {
            Some(label) => wanted.push(Attribute::Label(label.clone())),
            None if uri.id.is_none() => wanted.push(Attribute::Label(name.as_bytes().to_vec())),
            None => {}
        }
        let found = self.session.find_objects(&wanted);
        let found = found.map_err(|cause| refused(&format!("the token {}", self.info.label()), &cause))?;
        match *found {
            [] => Ok(None),
            [key] => Ok(Some(key)),
            _ => {
                fail(format!("{} keys on the token {} fit the URI: name one with id=", found.len(), self.info.label()))
            }
        }
    }

    fn lacks<T>(&self, uri: &Uri, name: &str, kind: &str) -> Result<T, Error> {
        let label = self.info.label();
        let key = match (&uri.object, &uri.id) {
            (Some(object), _) => format!("of object={}", String::from_utf8_lossy(object)),
            (None, Some(_)) => "of that id".to_owned(),
            (None, None) => format!("called {name:?} (the key-name-hint)"),
        };
        fail(format!("the token {label} has no {kind} key {key}"))
    }

    /// The public key, out of its own object, else out of the private one, which has RSA's numbers, too.
    fn public(&self, uri: &Uri, name: &str) -> Result<PublicKey, Error> {
        for class in [ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY] {
            let Some(key) = self.key(uri, name, class)? else { continue };
            let all = [AttributeType::Modulus, AttributeType::PublicExponent, AttributeType::EcPoint];
            let (mut modulus, mut exponent) = (None, None);
            // One by one: which a key has depends on its kind.
            for attribute in all.into_iter().flat_map(|kind| self.attributes(key, &[kind])) {
                match attribute {
                    Attribute::Modulus(bytes) => modulus = Some(bytes),
                    Attribute::PublicExponent(bytes) => exponent = Some(bytes),
                    Attribute::EcPoint(bytes) => {
                        // As an OCTET STRING; some leave its head out.
                        let point = if let [4, 65 | 97, point @ ..] = &*bytes { point } else { &bytes };
                        return PublicKey::try_from(point);
                    }
                    _ => {}
                }
            }
            if let (Some(modulus), Some(exponent)) = (modulus, exponent) {
                return PublicKey::try_from((&*modulus, &*exponent));
            }
        }
        self.lacks(uri, name, "public")
    }
}

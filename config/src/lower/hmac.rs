//! `auth_hmac`: keys, each in the file or in one of its own, and how they are used.
//!
//! What must stay true: no key is shown, so that every complaint of one stands at the block; and a key that can't be had
//! is an error, never an instance that does not sign.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use keepone_proto::settings::HmacMode;

use crate::keyword::AUTH_HMAC;
use crate::model::SecretBytes;
use crate::raw::{RawHmac, RawOptions};
use crate::tree::{Item, Word};

use super::{Lower, value};

const MODES: &[(&str, HmacMode)] =
    &[("enforce", HmacMode::Enforce), ("permissive", HmacMode::Permissive), ("receive-only", HmacMode::ReceiveOnly)];
/// A file with a key has no more bytes than this: `hex:`, 128 digits and the end of a line.
const LONGEST: u64 = 256;

impl Lower<'_> {
    pub(super) fn auth_hmac(&mut self, options: &mut RawOptions, block: &Item) {
        let written = |keyword: &str| block.items().iter().any(|item| item.keyword.text == keyword);
        let mut hmac = RawHmac {
            place: block.keyword.place.clone(),
            has_keys: written("key"),
            has_active_key: written("active_key"),
            keys: Vec::new(),
            active_key: None,
            mode: None,
            time_window: None,
            monotonic: false,
        };
        let number = || value::number::<u8>(1..=255, "number the keys from 1 to 255, alike on every node");
        self.each(block.items(), &AUTH_HMAC, |lower, item| match item.keyword.text.as_str() {
            "key" => {
                let Some((number, key)) = lower.hmac_key(item, &block.keyword) else { return };
                if hmac.keys.iter().any(|(known, _)| *known == number) {
                    let message = format!("two keys of `auth_hmac` have the number {number}");
                    let help = "give each key a number of its own, alike on every node";
                    lower.report.error(&block.keyword.place, message, help);
                    return;
                }
                hmac.keys.push((number, key));
            }
            "active_key" => hmac.active_key = lower.value(item, number()),
            "mode" => {
                let help = "write enforce once every node signs";
                hmac.mode = lower.value(item, value::one_of(MODES, help));
            }
            "time_window" => {
                let bounds = Duration::from_secs(1)..=Duration::from_secs(300);
                hmac.time_window = lower.value(item, value::duration(bounds));
            }
            "anti_replay" => {
                let kinds = &[("time", false), ("monotonic", true)];
                hmac.monotonic = lower.plain(item, value::one_of(kinds, "write time")).unwrap_or(false);
            }
            _ => lower.unread(item),
        });
        options.hmac = Some(hmac);
    }

    /// `N hex:DIGITS`, `N file:PATH` or `N TEXT`.
    fn hmac_key(&mut self, item: &Item, block: &Word) -> Option<(u8, SecretBytes)> {
        let (number, text) = match item.words.as_slice() {
            [number, text] => (number.text.parse().ok().filter(|n| *n != 0), text.text.as_str()),
            _ => (None, ""),
        };
        let found = match (number, text.strip_prefix("file:")) {
            (None, _) => Err("write a number from 1 to 255 and a key: `key 1 hex:DIGITS`".to_owned()),
            (Some(number), Some(path)) => self.hmac_file(number, Path::new(path), block).map(|key| (number, key)),
            (Some(number), None) => bytes(text).map(|key| (number, key)).ok_or_else(|| {
                "write a number from 1 to 255 and a key of 32 to 64 bytes: hex:DIGITS, file:PATH, or text".to_owned()
            }),
        };
        match found {
            Ok(key) => Some(key),
            Err(help) => {
                let which = number.map_or_else(|| "a key".to_owned(), |number: u8| format!("key {number}"));
                self.report.error(&block.place, format!("{which} of `auth_hmac` can't be read"), help);
                None
            }
        }
    }

    /// What keepalived reads there: the same as may stand in the configuration, and perhaps the end of a line.
    fn hmac_file(&mut self, number: u8, path: &Path, block: &Word) -> Result<SecretBytes, String> {
        if !path.is_absolute() {
            return Err("write an absolute path: `key 1 file:/etc/keepone/vrrp.key`".to_owned());
        }
        let shown = path.display();
        let (text, found) = read(path).map_err(|error| format!("make {shown} readable for the agent: {error}"))?;
        if found.mode() & 0o077 != 0 {
            let message = format!("{shown}, with key {number} of `auth_hmac`, can be read by others than its owner");
            self.report.warning(&block.place, message, format!("run `chmod 600 {shown}`"));
        }
        bytes(text.trim_end_matches(['\r', '\n'])).ok_or_else(|| {
            format!("write a key of 32 to 64 bytes into {shown}: `hex:` and digits (openssl rand -hex 32), or text")
        })
    }
}

fn read(path: &Path) -> io::Result<(String, Metadata)> {
    // Before it is opened: a FIFO would have us wait for its writer.
    let found = std::fs::metadata(path)?;
    if !found.is_file() || found.len() > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file with a key in it"));
    }
    let mut text = String::new();
    File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok((text, found))
}

fn bytes(text: &str) -> Option<SecretBytes> {
    let bytes = match text.strip_prefix("hex:") {
        Some(digits) if digits.is_ascii() => {
            let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
            let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
            bytes.filter(|_| rest.is_empty())?
        }
        Some(_) => return None,
        None => text.as_bytes().to_vec(),
    };
    (32..=64).contains(&bytes.len()).then_some(SecretBytes(bytes))
}

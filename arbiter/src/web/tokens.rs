//! Who may ask for what: a file with a token a line.
//!
//! ```text
//! # NAME  read|operate  TOKEN
//! grafana read 0f6b6bbf0b1c4b3a8d2f1f4e5a6b7c8d
//! ```
//!
//! What must stay true: the file is one that only its owner reads; each comparison takes the same time whatever is
//! right in a guess; a token is never printed.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::hmac;

use crate::control::Right;

/// Tokens in a file.
const MOST: usize = 64;
/// Characters of one: fewer can be guessed. `openssl rand -hex 24` makes 48.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=200;
/// Octets of a file.
const LONGEST: u64 = 64 << 10;

/// Somebody who may ask.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// For the log.
    pub name: String,
    /// What it may.
    pub right: Right,
    secret: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.name, self.right)
    }
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It can't be read.
    #[error("token file {} can't be read: {error}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others could read it.
    #[error("token file {} can be read by others (mode {mode:04o}, owner {owner}): `chown {wanted} FILE; chmod 600 FILE`", .path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner.
        owner: u32,
        /// Whose it should be.
        wanted: u32,
    },
    /// It is not what it should be.
    #[error("token file {}, line {line}: {what}", .path.display())]
    Wrong {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What, and what to do.
        what: &'static str,
    },
}

/// Reads a file.
///
/// # Errors
/// It can't be used, and what to do.
pub fn load(path: &Path) -> Result<Vec<Token>, TokenError> {
    let unreadable = |error| TokenError::Unreadable { path: path.to_owned(), error };
    // Of a pipe nothing is waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    // Of the file that is open, not of one that has its name by now.
    let found = file.metadata().map_err(unreadable)?;
    let wanted = nix::unistd::geteuid().as_raw();
    if found.mode() & 0o077 != 0 || (found.uid() != wanted && found.uid() != 0) {
        let (mode, owner) = (found.mode() & 0o7777, found.uid());
        return Err(TokenError::Open { path: path.to_owned(), mode, owner, wanted });
    }
    if !found.is_file() || found.len() > LONGEST {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is no file of 64 KiB at most")));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
    parse(&text).map_err(|(line, what)| TokenError::Wrong { path: path.to_owned(), line, what })
}

fn parse(text: &str) -> Result<Vec<Token>, (usize, &'static str)> {
    let mut tokens = Vec::<Token>::new();
    for (line, text) in (1..).zip(text.lines()) {
        let mut words = text.split_whitespace();
        let Some(name) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        let (Some(right), Some(secret), None) = (words.next(), words.next(), words.next()) else {
            return Err((line, "three words are wanted: NAME, `read` or `operate`, and the token"));
        };
        let right = match right {
            "read" => Right::Read,
            "operate" => Right::Operate,
            _ => return Err((line, "the second word is `read` or `operate`")),
        };
        if name.len() > 64 || !name.chars().all(|c| c.is_ascii_graphic()) {
            return Err((line, "a name has 64 letters, digits and signs at most"));
        }
        if !LENGTHS.contains(&secret.len()) || !secret.chars().all(|c| c.is_ascii_graphic()) {
            return Err((
                line,
                "a token has 24 to 200 letters, digits and signs: make one with `openssl rand -hex 24`",
            ));
        }
        if tokens.iter().any(|other| other.secret == secret) {
            return Err((line, "this token stands in a line above: give each its own"));
        }
        if tokens.len() == MOST {
            return Err((line, "64 tokens are the most"));
        }
        tokens.push(Token { name: name.to_owned(), right, secret: secret.to_owned() });
    }
    if tokens.is_empty() {
        return Err((1, "it has no token: write `NAME read TOKEN` or `NAME operate TOKEN`, one a line"));
    }
    Ok(tokens)
}

/// Knows tokens by their tags under a key that is made anew by each start, so that comparing tells nothing.
pub struct Doorkeeper {
    key: hmac::Key,
    tokens: Vec<Token>,
}

impl fmt::Debug for Doorkeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tokens.fmt(f)
    }
}

/// Before what is signed for a cookie, so that none is a token's own tag.
const COOKIE: &str = "cookie\n";

impl Doorkeeper {
    /// With a key of 32 octets.
    pub fn new(key: &[u8; 32], tokens: Vec<Token>) -> Self {
        Doorkeeper { key: hmac::Key::new(hmac::HMAC_SHA256, key), tokens }
    }

    /// The file was read again: cookies of tokens that stay go on.
    pub fn replace(&mut self, tokens: Vec<Token>) {
        self.tokens = tokens;
    }

    /// Whose token it is.
    pub fn by_token(&self, shown: &str) -> Option<&Token> {
        let tag = hmac::sign(&self.key, shown.as_bytes());
        self.find(tag.as_ref(), |token| token.secret.clone())
    }

    /// Whose cookie it is.
    pub fn by_cookie(&self, shown: &str) -> Option<&Token> {
        let tag = hex(shown)?;
        self.find(&tag, |token| format!("{COOKIE}{}", token.secret))
    }

    /// The cookie of a token's owner.
    pub fn cookie(&self, token: &Token) -> String {
        let tag = hmac::sign(&self.key, format!("{COOKIE}{}", token.secret).as_bytes());
        tag.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// All are compared, whichever is right.
    fn find(&self, tag: &[u8], signed: impl Fn(&Token) -> String) -> Option<&Token> {
        let fits = |token: &&Token| hmac::verify(&self.key, signed(token).as_bytes(), tag).is_ok();
        self.tokens.iter().filter(fits).last()
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let digit = |at: usize| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..64).step_by(2).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SECRET: &str = "0123456789abcdef01234567";

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("tokens");
        std::fs::write(&path, format!("# who\n\nann read {SECRET}\nbob operate {SECRET}x\n")).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let words = load(&path).unwrap_err().to_string();
            assert!(words.contains("chmod 600") && words.contains(&format!("{mode:04o}")), "{words}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let tokens = load(&path).unwrap();
        assert_eq!(format!("{tokens:?}"), "[ann (Read), bob (Operate)]", "a secret is shown, or missing");
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        assert!(matches!(load(&path), Err(TokenError::Open { owner: 65_534, .. })), "somebody else could change it");
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named_with_its_line() {
        let many = (0..65).map(|n| format!("n{n} read {SECRET}{n}\n")).collect::<String>();
        let twice = format!("a read {SECRET}\nb operate {SECRET}\n");
        for (text, line) in [
            ("", 1),
            ("# nothing\n", 1),
            ("\nann read\n", 2),
            ("ann write 0123456789abcdef01234567\n", 1),
            ("ann read short\n", 1),
            ("ann read 0123456789abcdef01234567 more\n", 1),
            (twice.as_str(), 2),
            (many.as_str(), 65),
        ] {
            assert_eq!(parse(text).map_err(|(line, _)| line), Err(line), "{text}");
        }
    }

    #[test]
    fn a_token_is_known_and_its_cookie_is_another_word_that_ends_with_it() {
        let tokens = parse(&format!("ann read {SECRET}\nbob operate {SECRET}x\n")).unwrap();
        let mut keeper = Doorkeeper::new(&[7; 32], tokens.clone());
        let name = |token: Option<&Token>| token.map(|token| token.name.clone());
        assert_eq!(name(keeper.by_token(SECRET)).as_deref(), Some("ann"));
        assert_eq!(name(keeper.by_token(&format!("{SECRET}x"))).as_deref(), Some("bob"));
        for wrong in ["", "0123456789abcdef01234568", "0123456789abcdef0123456", SECRET.to_uppercase().as_str()] {
            assert_eq!(keeper.by_token(wrong), None, "{wrong}");
        }
        let cookie = keeper.cookie(&tokens[0]);
        assert_eq!(name(keeper.by_cookie(&cookie)).as_deref(), Some("ann"));
        assert_eq!(keeper.by_token(&cookie), None);
        for wrong in ["", SECRET, &cookie.replacen(&cookie[..1], "g", 1), &"0".repeat(64), &"é".repeat(32)] {
            assert_eq!(keeper.by_cookie(wrong), None, "{wrong}");
        }
        keeper.replace(tokens[1..].to_vec());
        assert_eq!(keeper.by_cookie(&cookie), None, "its token is gone");
    }
}

//! A body in chunks (RFC 9112, 7.1): what is data, and where it ends.

use super::LINE;
use super::http::HEAD;

/// Where the coding stands.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    part: Part,
    /// What has come of a line, without its end.
    line: Vec<u8>,
    /// How long the trailer is so far, in bytes.
    trailer: usize,
}

#[derive(Debug, Default)]
enum Part {
    /// The line with the size of a chunk.
    #[default]
    Size,
    /// So many bytes of one.
    Data(u64),
    /// The empty line behind it.
    After,
    /// Lines up to an empty one.
    Trailer,
}

/// What comes of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// These are the body's.
    Data(&'a [u8]),
    /// Nothing yet.
    More,
    /// That was the end.
    End,
}

impl Chunks {
    /// Takes the begin of `bytes`: what comes of it, and what is left of them.
    ///
    /// # Errors
    /// They are no chunks.
    pub(super) fn take<'a>(&mut self, bytes: &'a [u8]) -> Result<(Next<'a>, &'a [u8]), &'static str> {
        if let Part::Data(left) = &mut self.part {
            let length = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            let (data, rest) = bytes.split_at(length);
            *left -= length as u64;
            if *left == 0 {
                self.part = Part::After;
            }
            return Ok((Next::Data(data), rest));
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        let (begin, rest) = bytes.split_at(end);
        self.line.extend_from_slice(begin);
        if self.line.len() > LINE {
            return Err("a line of the chunks without end");
        }
        if !self.line.ends_with(b"\n") {
            return Ok((Next::More, rest));
        }
        let next = self.line()?;
        self.line.clear();
        Ok((next, rest))
    }

    /// Takes a whole line.
    fn line(&mut self) -> Result<Next<'static>, &'static str> {
        let is_empty = self.line.trim_ascii_end().is_empty();
        match self.part {
            Part::Size => {
                let size = match httparse::parse_chunk_size(&self.line) {
                    Ok(httparse::Status::Complete((_, size))) => size,
                    Ok(httparse::Status::Partial) | Err(httparse::InvalidChunkSize) => {
                        return Err("a chunk without its size");
                    }
                };
                self.part = if size == 0 { Part::Trailer } else { Part::Data(size) };
            }
            Part::After if is_empty => self.part = Part::Size,
            Part::After => return Err("a chunk that is longer than its size"),
            Part::Trailer if is_empty => return Ok(Next::End),
            Part::Trailer => {
                self.trailer += self.line.len();
                if self.trailer > HEAD {
                    return Err("a trailer without end");
                }
            }
            Part::Data(_) => {}
        }
        Ok(Next::More)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data, and whether it has ended; or what is wrong.
    fn taken(text: &[u8]) -> Result<(Vec<u8>, bool), &'static str> {
        let (mut chunks, mut rest, mut data) = (Chunks::default(), text, Vec::new());
        while !rest.is_empty() {
            let (next, after) = chunks.take(rest)?;
            match next {
                Next::Data(part) => data.extend_from_slice(part),
                Next::More => {}
                Next::End => return Ok((data, true)),
            }
            rest = after;
        }
        Ok((data, false))
    }

    #[test]
    fn data_is_what_stands_between_sizes() {
        let wanted = |data: &str, is_over| Ok((data.as_bytes().to_vec(), is_over));
        assert_eq!(taken(b"a\r\n0123456789\r\n0\r\n\r\n"), wanted("0123456789", true));
        assert_eq!(taken(b"1;a=b\r\nx\r\n00\r\nT: x\r\n\r\nmore"), wanted("x", true));
        assert_eq!(taken(b"5\r\nab"), wanted("ab", false));
        assert_eq!(taken(b"0\r\n"), wanted("", false));
    }

    #[test]
    fn what_is_none_is_refused_within_its_bounds() {
        assert_eq!(taken(b"xyz\r\n"), Err("a chunk without its size"));
        assert_eq!(taken(b"ffffffffffffffffff\r\n"), Err("a chunk without its size"));
        assert_eq!(taken(b"1\r\nab\r\n"), Err("a chunk that is longer than its size"));
        assert_eq!(taken(&[b'1'; LINE + 1]), Err("a line of the chunks without end"));
        let trailer = [b"0\r\n".as_slice(), &b"X: yyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(HEAD / 28 + 1)].concat();
        assert_eq!(taken(&trailer), Err("a trailer without end"));
    }
}

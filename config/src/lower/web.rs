//! The web page and the HTTP listener.

use crate::keyword::WEB;
use crate::raw::{RawConfig, RawWeb};
use crate::tree::Item;

use super::{Lower, value};

impl Lower<'_> {
    pub(super) fn web(&mut self, raw: &mut RawConfig, block: &Item) {
        let mut web = RawWeb {
            place: block.keyword.place.clone(),
            written: self.written(block),
            listen: None,
            cert_file: None,
            cert_key_file: None,
            token_file: None,
        };
        self.each(block.items(), &WEB, |lower, item| match item.keyword.text.as_str() {
            "listen" => web.listen = lower.value(item, value::socket_address),
            "cert_file" => web.cert_file = lower.path(item),
            "cert_key_file" => web.cert_key_file = lower.path(item),
            "token_file" => web.token_file = lower.path(item),
            _ => lower.unread(item),
        });
        raw.web = Some(web);
    }
}

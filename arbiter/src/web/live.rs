//! What changes, told to whoever looks (server-sent events, HTML Living Standard, 9.2).
//!
//! What must stay true: the program is asked by one, however many look, and by none when nobody does; a viewer that is
//! slow skips what it has missed, and is told how things stand now.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Part, Site};

/// Between two looks at the program: a cut line is to be seen within a second.
const EVERY: Duration = Duration::from_millis(250);
/// Of the time, looking takes one part in so many at most, on however large a node.
const SHARE: u32 = 20;
/// A word to a viewer for whom nothing has changed: a page that hears nothing at all says so after 6 s.
const STILL_HERE: Duration = Duration::from_secs(2);

/// Everything at one instant, or why there is nothing.
type Seen = Arc<Result<Vec<Part>, String>>;

/// What all viewers share.
#[derive(Debug)]
pub(super) struct Live {
    seen: watch::Sender<Seen>,
    somebody: Notify,
}

impl Live {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Live { seen: watch::Sender::new(Arc::new(Ok(Vec::new()))), somebody: Notify::new() })
    }

    /// Looks while somebody does.
    pub(super) async fn run(self: Arc<Self>, site: Arc<impl Site>) {
        loop {
            while self.seen.receiver_count() == 0 {
                self.somebody.notified().await;
            }
            let begin = Instant::now();
            let site = site.clone();
            let parts = tokio::task::spawn_blocking(move || site.parts()).await;
            self.seen.send_replace(Arc::new(parts.unwrap_or_else(|error| Err(error.to_string()))));
            sleep(EVERY.max(begin.elapsed() * SHARE)).await;
        }
    }

    /// Another viewer: what it is told, as long as it takes it, and may look.
    pub(super) fn viewer(
        &self,
        place: tokio::sync::OwnedSemaphorePermit,
        may_look: impl Fn() -> bool + Send + 'static,
    ) -> Events {
        let (events, told) = mpsc::channel(1);
        let mut seen = self.seen.subscribe();
        self.somebody.notify_one();
        tokio::spawn(async move {
            let _place = place;
            let (mut last, mut told_at) = (None, Instant::now());
            while may_look() {
                // Counted from the last word: looks that find nothing new are none.
                let event = match timeout_at(told_at + STILL_HERE, seen.changed()).await {
                    Ok(Ok(())) => {
                        let now = seen.borrow_and_update().clone();
                        let event = event(last.as_deref(), &now);
                        last = Some(now);
                        event
                    }
                    Ok(Err(_)) => return,
                    Err(_) => Some(Bytes::from_static(b"event: still\ndata: here\n\n")),
                };
                if let Some(event) = event {
                    if events.send(event).await.is_err() {
                        return;
                    }
                    told_at = Instant::now();
                }
                if events.is_closed() {
                    return;
                }
            }
        });
        Events(told)
    }
}

/// What has changed; nothing if nothing has.
fn event(last: Option<&Result<Vec<Part>, String>>, now: &Result<Vec<Part>, String>) -> Option<Bytes> {
    let (name, data) = match now {
        Ok(parts) => {
            let known = last.and_then(|last| last.as_ref().ok());
            let is_known = |part: &&Part| known.is_some_and(|known| known.contains(part));
            let changed: Vec<_> = parts.iter().filter(|part| !is_known(part)).collect();
            if changed.is_empty() && known.is_some() {
                return None;
            }
            let pairs: Vec<_> = changed.iter().map(|part| (part.id, part.html.as_str())).collect();
            ("parts", serde_json::to_string(&pairs))
        }
        Err(words) if last.is_some_and(|last| last.as_ref().err() == Some(words)) => return None,
        Err(words) => ("trouble", serde_json::to_string(words)),
    };
    // JSON has no line ends in its strings.
    Some(Bytes::from(format!("event: {name}\ndata: {}\n\n", data.ok()?)))
}

/// The body of an answer that does not end.
#[derive(Debug)]
pub(super) struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|told| told.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::html::Html;

    /// A viewer of a page that is looked at again and again and never changes; what it was told within that time.
    async fn told(time: Duration, may_look: impl Fn() -> bool + Send + 'static) -> (Vec<String>, bool) {
        let live = Live::new();
        let places = Arc::new(tokio::sync::Semaphore::new(1));
        let mut events = live.viewer(places.clone().try_acquire_owned().unwrap(), may_look);
        let part = Part { id: "a", html: Html::new().text("one"), is_said: false };
        let (mut told, until) = (Vec::new(), Instant::now() + time);
        let mut looks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                event = events.0.recv() => match event {
                    Some(event) => told.push(String::from_utf8(event.to_vec()).unwrap()),
                    None => return (told, true),
                },
                _ = looks.tick() => drop(live.seen.send_replace(Arc::new(Ok(vec![part.clone()])))),
                () = tokio::time::sleep_until(until) => return (told, false),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_for_whom_nothing_changes_hears_that_the_program_is_there() {
        let (told, is_over) = told(Duration::from_secs(7), || true).await;
        let still = told.iter().filter(|event| event.starts_with("event: still")).count();
        assert_eq!((told.len(), still, is_over), (4, 3, false), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_who_may_look_no_more_is_told_nothing_more() {
        let begun = Instant::now();
        let (told, is_over) = told(Duration::from_secs(60), move || begun.elapsed() < Duration::from_secs(5)).await;
        assert!(is_over && begun.elapsed() < Duration::from_secs(8), "{:?}: {told:?}", begun.elapsed());
    }

    #[test]
    fn only_what_has_changed_is_told() {
        let part = |id, text: &str| Part { id, html: Html::new().text(text), is_said: false };
        let now = Ok(vec![part("a", "one"), part("b", "two\nlines")]);
        let text = |event: Option<Bytes>| event.map(|event| String::from_utf8(event.to_vec()).unwrap());
        let all = "event: parts\ndata: [[\"a\",\"one\"],[\"b\",\"two\\nlines\"]]\n\n";
        assert_eq!(text(event(None, &now)).as_deref(), Some(all));
        assert_eq!(event(Some(&now), &now), None);
        let later = Ok(vec![part("a", "one"), part("b", "three")]);
        assert_eq!(text(event(Some(&now), &later)).as_deref(), Some("event: parts\ndata: [[\"b\",\"three\"]]\n\n"));
        let trouble = Err(String::from("it is stopped"));
        assert_eq!(text(event(Some(&now), &trouble)).as_deref(), Some("event: trouble\ndata: \"it is stopped\"\n\n"));
        assert_eq!(event(Some(&trouble), &trouble), None);
        assert_eq!(text(event(Some(&trouble), &now)).as_deref(), Some(all), "what was missed meanwhile");
    }
}

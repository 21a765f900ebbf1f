//! Chromium without a screen, in a machine of its own, driven by the DevTools protocol over two pipes.
#![allow(clippy::indexing_slicing, reason = "what a JSON value does not have is null")]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::namespace::Namespace;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Error;

/// A cold start on a busy machine takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Chromium reads requests from descriptor 3 and answers on 4; what it logs is of no use here.
const PIPES: &str = "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";

/// A browser with one tab; it ends with this.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
    session: String,
    number: u64,
    _profile: TempDir,
}

impl Browser {
    /// Starts it in a namespace.
    ///
    /// # Errors
    /// [`Error::Io`]: it is not installed, or does not answer.
    pub fn start(namespace: &Namespace) -> Result<Self, Error> {
        let profile = TempDir::with_prefix("keepone-chromium-").map_err(io_error("make a profile"))?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/fd/{}", std::process::id(), namespace.file().as_raw_fd()));
        command.args(["sh", "-c", PIPES, "sh", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]);
        command.args(["--remote-debugging-pipe", "--no-first-run", "--disable-extensions", "--disable-dev-shm-usage"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.map_err(io_error("start chromium: apt-get install chromium"))?;
        let gone = || io_error("talk to chromium")(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let (requests, said) = (child.stdin.take().ok_or_else(gone)?, child.stdout.take().ok_or_else(gone)?);
        let (told, answers) = channel();
        thread::spawn(move || {
            let mut said = BufReader::new(said);
            let mut message = Vec::new();
            while said.read_until(0, &mut message).is_ok_and(|octets| octets > 0) {
                message.pop();
                if serde_json::from_slice(&message).is_ok_and(|value| told.send(value).is_err()) {
                    return;
                }
                message.clear();
            }
        });
        let session = String::new();
        let mut browser = Browser { child, requests, answers, session, number: 0, _profile: profile };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attach)?;
        browser.session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        browser.ask("Page.enable", json!({}))?;
        browser.ask("Security.setIgnoreCertificateErrors", json!({ "ignore": true }))?;
        Ok(browser)
    }

    /// Asks for anything that the protocol knows.
    ///
    /// # Errors
    /// [`Error::Io`] with what the browser says.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, Error> {
        self.number += 1;
        let mut request = json!({ "id": self.number, "method": method, "params": parameters });
        if !self.session.is_empty() {
            request["sessionId"] = self.session.as_str().into();
        }
        let failed = |words: String| io_error(format!("{method} in chromium"))(std::io::Error::other(words));
        let mut octets = request.to_string().into_bytes();
        octets.push(0);
        self.requests.write_all(&octets).map_err(|error| failed(error.to_string()))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(answer) if answer["id"] == self.number => match answer.get("error") {
                    Some(error) => return Err(failed(error.to_string())),
                    None => return Ok(answer["result"].clone()),
                },
                // An event.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Err(failed(format!("no answer within {PATIENCE:?}"))),
                Err(RecvTimeoutError::Disconnected) => return Err(failed(String::from("it has ended"))),
            }
        }
    }

    /// Goes to a page, and waits until it is loaded.
    ///
    /// # Errors
    /// [`Error::Io`]: it can't be had.
    pub fn visit(&mut self, url: &str) -> Result<(), Error> {
        let failed = |words: &str| io_error(format!("visit {url}"))(std::io::Error::other(words.to_owned()));
        let visited = self.ask("Page.navigate", json!({ "url": url }))?;
        if let Some(words) = visited["errorText"].as_str() {
            return Err(failed(words));
        }
        let until = Instant::now() + PATIENCE;
        while self.run("document.readyState")? != "complete" {
            if Instant::now() > until {
                return Err(failed("it is not loaded"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What a script comes to; of a promise, what that comes to.
    ///
    /// # Errors
    /// [`Error::Io`] with the script's own error.
    pub fn run(&mut self, script: &str) -> Result<Value, Error> {
        let wish = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let run = self.ask("Runtime.evaluate", wish)?;
        match run.get("exceptionDetails") {
            Some(error) => Err(io_error("run a script")(std::io::Error::other(error.to_string()))),
            None => Ok(run["result"]["value"].clone()),
        }
    }

    /// A window of that size, in a light or a dark room.
    ///
    /// # Errors
    /// As [`Browser::ask`].
    pub fn look(&mut self, (width, height): (u32, u32), is_dark: bool) -> Result<(), Error> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size)?;
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", media).map(|_| ())
    }

    /// A picture of the whole page, as PNG.
    ///
    /// # Errors
    /// As [`Browser::ask`].
    pub fn picture(&mut self) -> Result<Vec<u8>, Error> {
        let taken = self.ask("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }))?;
        let data = taken["data"].as_str().unwrap_or_default();
        STANDARD.decode(data).map_err(|error| io_error("read a picture")(std::io::Error::other(error)))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // In good order, so that its helpers end with it.
        let _ = self.ask("Browser.close", json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

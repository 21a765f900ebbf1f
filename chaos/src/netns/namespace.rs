//! A network namespace without a name: it lives as long as its descriptor or a process in it.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::error::{Error, io_error};

/// A network namespace, held by a descriptor of this process.
#[derive(Debug, Clone)]
pub struct Namespace(Arc<File>);

impl Namespace {
    /// Makes an empty one.
    ///
    /// # Errors
    /// [`Error::Io`] without the right or without namespaces in the kernel.
    pub fn new() -> Result<Self, Error> {
        // Only the thread that asks moves, so a thread that ends right after leaves this process where it was.
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(io_error("make a network namespace"))?;
            File::open("/proc/thread-self/ns/net").map_err(io_error("open the new network namespace"))
        });
        made.join().map_err(|_| Error::Thread("a new namespace"))?.map(|file| Namespace(Arc::new(file)))
    }

    /// The descriptor, for handing interfaces over.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Moves the calling thread in, for good: for threads that are about to do nothing else.
    ///
    /// # Errors
    /// [`Error::Io`] without the right.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&*self.0, CloneFlags::CLONE_NEWNET).map_err(io_error("enter a network namespace"))
    }

    /// Runs `work` on a thread inside; sockets and processes that it makes stay inside.
    ///
    /// # Errors
    /// What `work` returns, and [`Error::Thread`] if it panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            scope.spawn(|| self.enter().and_then(|()| work())).join().map_err(|_| Error::Thread("a namespace"))?
        })
    }

    /// Runs netlink requests inside, over a connection of their own.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn netlink<T, F, W>(&self, work: W) -> Result<T, Error>
    where
        T: Send,
        F: Future<Output = Result<T, Error>>,
        W: FnOnce(rtnetlink::Handle) -> F + Send,
    {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(io_error("start an event loop"))?;
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().map_err(io_error("open netlink"))?;
                tokio::spawn(connection);
                work(handle).await
            })
        })
    }

    /// Writes kernel parameters below `/proc/sys/net`, which are each namespace's own.
    ///
    /// # Errors
    /// [`Error::Io`] naming the parameter.
    pub fn set_parameters(&self, parameters: &[(&str, &str)]) -> Result<(), Error> {
        self.run(|| {
            for (name, value) in parameters {
                let path = format!("/proc/sys/net/{name}");
                OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .and_then(|mut file| file.write_all(value.as_bytes()))
                    .map_err(io_error(format!("write {value} to {path}")))?;
            }
            Ok(())
        })
    }
}

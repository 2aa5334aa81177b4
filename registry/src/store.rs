//! The one writer: decides writes in order, makes a batch durable with one fsync, then shows it and answers.
//!
//! Nothing is visible before it is durable, so an index anybody saw never comes back lower. Writes that arrive while
//! a batch is being synced form the next one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Refusal};
use crate::journal::{Journal, Record};
use crate::state::{Change, State, alias};
use crate::watch::{Subscription, Topic, Wakers};

/// Writes that may wait for the writer; more wait at their senders.
const QUEUE: usize = 1024;
/// Writes that share one fsync at most.
const BATCH: usize = 256;

/// What a write comes to: its effects, and the boolean some endpoints answer with.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    pub(crate) changes: Vec<Change>,
    pub(crate) answer: bool,
}

impl Decided {
    pub(crate) fn done(changes: Vec<Change>) -> Self {
        Self {
            changes,
            answer: true,
        }
    }

    /// Nothing is changed and the answer is `false`: a failed compare-and-set.
    pub(crate) fn refused() -> Self {
        Self::default()
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Committed {
    /// The index of the write, or of the state a write that changed nothing found.
    pub(crate) index: u64,
    pub(crate) answer: bool,
}

type Decide = Box<dyn FnOnce(&State) -> Result<Decided, Refusal> + Send>;
type Reply = oneshot::Sender<Result<Committed, Refusal>>;

enum Job {
    Write(Decide, Reply),
    Stop,
}

pub(crate) struct Store {
    current: Arc<ArcSwap<State>>,
    wakers: Arc<Wakers>,
    queue: mpsc::Sender<Job>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("index", &self.state().index)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Starts the writer thread, which the caller joins after `stop`. Without a journal nothing survives.
    pub(crate) fn start(
        journal: Option<Journal>,
        state: State,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let current = Arc::new(ArcSwap::from_pointee(state));
        let wakers = Arc::new(Wakers::default());
        let writer = Writer {
            current: Arc::clone(&current),
            wakers: Arc::clone(&wakers),
            journal,
            broken: false,
        };
        let thread = std::thread::Builder::new()
            .name("registry-writer".to_owned())
            .spawn(move || writer.run(jobs))
            .map_err(Error::Thread)?;
        Ok((
            Self {
                current,
                wakers,
                queue,
            },
            thread,
        ))
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.current.load_full()
    }

    pub(crate) fn subscribe(&self, topics: Vec<Topic>) -> Subscription {
        self.wakers.subscribe(topics)
    }

    /// Decides and commits one write; returns once it is durable. Dropping the future does not undo it.
    pub(crate) async fn write(
        &self,
        decide: impl FnOnce(&State) -> Result<Decided, Refusal> + Send + 'static,
    ) -> Result<Committed, Refusal> {
        let (reply, answer) = oneshot::channel();
        let stopped = || {
            Refusal::new(
                http::StatusCode::SERVICE_UNAVAILABLE,
                "the registry is shutting down",
            )
        };
        let job = Job::Write(Box::new(decide), reply);
        self.queue.send(job).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Lets the writer finish what is queued and end.
    pub(crate) async fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.queue.send(Job::Stop).await;
    }
}

struct Writer {
    current: Arc<ArcSwap<State>>,
    wakers: Arc<Wakers>,
    journal: Option<Journal>,
    /// After a failed append the file's end is unknown; nothing more is acknowledged.
    broken: bool,
}

/// A batch under way.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    topics: BTreeSet<Topic>,
    replies: Vec<(Reply, Result<Committed, Refusal>)>,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut open = true;
        while open {
            let Some(first) = jobs.blocking_recv() else {
                return;
            };
            let mut working = State::clone(&self.current.load());
            let mut batch = Batch::default();
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Write(decide, reply) => {
                        let result = batch.take(&mut working, decide);
                        batch.replies.push((reply, result));
                    }
                    Job::Stop => open = false,
                }
                next = if open && batch.replies.len() < BATCH {
                    jobs.try_recv().ok()
                } else {
                    None
                };
            }
            self.commit(working, batch);
        }
    }

    fn commit(&mut self, working: State, batch: Batch) {
        if !batch.records.is_empty() {
            if let Err(message) = self.persist(&batch.records) {
                for (reply, result) in batch.replies {
                    let failed = result.and_then(|_| Err(Refusal::server(message.clone())));
                    let _ = reply.send(failed);
                }
                return;
            }
            let working = Arc::new(working);
            self.current.store(Arc::clone(&working));
            self.wakers.publish(&batch.topics);
            if let Some(journal) = &mut self.journal
                && let Err(error) = journal.compact_if_large(&working)
            {
                // The log may be cut off in the middle: go on reading, acknowledge nothing.
                tracing::error!(%error, "the snapshot failed; writes are refused until a restart");
                self.broken = true;
            }
        }
        for (reply, result) in batch.replies {
            // A caller that went away does not take its write back.
            let _ = reply.send(result);
        }
    }

    fn persist(&mut self, records: &[Record]) -> Result<(), String> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        if self.broken {
            return Err(
                "the journal is broken: writes are refused until the registry is restarted"
                    .to_owned(),
            );
        }
        journal.append(records).map_err(|error| {
            self.broken = true;
            tracing::error!(%error, "the journal failed; writes are refused until a restart");
            format!("the write could not be made durable: {error}")
        })
    }
}

impl Batch {
    fn take(&mut self, working: &mut State, decide: Decide) -> Result<Committed, Refusal> {
        let Decided {
            mut changes,
            answer,
        } = decide(working)?;
        if changes.is_empty() {
            return Ok(Committed {
                index: working.index,
                answer,
            });
        }
        let index = working.index + 1;
        working.absorb(index, &changes, &mut self.topics);
        let topics = &mut self.topics;
        changes.extend(alias::settle(working, |state, settled| {
            state.absorb(index, settled, topics);
        }));
        self.records.push(Record { index, changes });
        Ok(Committed { index, answer })
    }
}

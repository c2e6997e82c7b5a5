//! What a person at a terminal sees: the result on stdout; notes, bars, a run's story and the dashboard; and how an
//! error is worded.

mod dashboard;
pub(crate) mod failure;
pub(crate) mod interrupt;
pub(crate) mod limits;
mod live;
pub(crate) mod notes;
pub(crate) mod output;
mod progress;
pub(crate) mod story;
pub(crate) mod tables;
mod watch;
pub(crate) mod wording;

pub(crate) use self::progress::Progress;
pub(crate) use self::watch::Watch;

//! The commands, a file each: flags to settings, settings to one library call, its result to the user.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod compare;
pub(crate) mod devices;
pub(crate) mod evaluate;
pub(crate) mod generate;
pub(crate) mod init;
pub(crate) mod merge;
pub(crate) mod prepare;
pub(crate) mod push;
pub(crate) mod run;
pub(crate) mod serve;
mod served;
pub(crate) mod train;

//! The way of events from the engine's thread to whoever asked, who may wait on a thread or in an async task.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::event::{Event, Listener};

/// A request's events. Dropping it cancels the request, which then takes no part in the following step.
#[derive(Debug)]
pub struct Ticket {
    mailbox: Arc<Mailbox>,
}

impl Ticket {
    /// Waits for the next event; none after the last.
    pub fn recv(&self) -> Option<Event> {
        let mut letters = self.mailbox.letters();
        loop {
            if let Some(event) = letters.events.pop_front() {
                return Some(event);
            }
            if letters.closed {
                return None;
            }
            letters = self.mailbox.arrived.wait(letters).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// As [`Ticket::recv`], in an async task.
    pub async fn recv_async(&self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`Ticket::recv`], without waiting: the task of `context` is woken when there is more. One task at a time.
    pub fn poll_recv(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut letters = self.mailbox.letters();
        match letters.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if letters.closed => Poll::Ready(None),
            None => {
                letters.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Ends the request; [`super::Reason::Cancelled`] is told if it had not ended by then.
    pub fn cancel(&self) {
        self.mailbox.cancelled.store(true, Ordering::Release);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// What a ticket and the engine share.
#[derive(Debug, Default)]
struct Mailbox {
    letters: Mutex<Letters>,
    arrived: Condvar,
    cancelled: AtomicBool,
}

#[derive(Debug, Default)]
struct Letters {
    events: VecDeque<Event>,
    closed: bool,
    waker: Option<Waker>,
}

impl Mailbox {
    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine's end: it closes when it is dropped, and does not do so without a last event.
#[derive(Debug)]
pub(super) struct Sender {
    mailbox: Arc<Mailbox>,
}

/// Both ends.
pub(super) fn channel() -> (Sender, Ticket) {
    let mailbox = Arc::new(Mailbox::default());
    (Sender { mailbox: mailbox.clone() }, Ticket { mailbox })
}

impl Listener for Sender {
    fn hear(&mut self, event: Event) {
        let mut letters = self.mailbox.letters();
        if letters.closed {
            return;
        }
        letters.closed = matches!(event, Event::Finished(_) | Event::Failed(_));
        letters.events.push_back(event);
        let waker = letters.waker.take();
        drop(letters);
        self.mailbox.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn has_left(&self) -> bool {
        self.mailbox.cancelled.load(Ordering::Acquire)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.hear(Event::Failed("the engine stopped before the answer was complete".to_string()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::super::event::Reason;
    use super::*;

    const END: Event = Event::Finished(Reason::Length);
    const TOKEN: Event = Event::Token { id: 3, score: None };

    #[test]
    fn events_arrive_in_order_and_nothing_after_the_last() {
        let (mut sender, ticket) = channel();
        for event in [TOKEN, END, TOKEN] {
            sender.hear(event);
        }
        assert_eq!([ticket.recv(), ticket.recv(), ticket.recv()], [Some(TOKEN), Some(END), None]);
    }

    #[test]
    fn a_sender_that_vanishes_leaves_an_error() {
        let (sender, ticket) = channel();
        let waits = std::thread::spawn(move || (ticket.recv(), ticket.recv()));
        drop(sender);
        assert!(matches!(waits.join().unwrap(), (Some(Event::Failed(_)), None)));
    }

    #[test]
    fn a_dropped_ticket_has_left() {
        let (sender, ticket) = channel();
        assert!(!sender.has_left());
        drop(ticket);
        assert!(sender.has_left());
    }

    #[test]
    fn a_task_is_woken_when_there_is_more() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let (mut sender, ticket) = channel();
        assert_eq!(ticket.poll_recv(&mut context), Poll::Pending);
        sender.hear(END);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(ticket.poll_recv(&mut context), Poll::Ready(Some(END)));
        assert_eq!(ticket.poll_recv(&mut context), Poll::Ready(None));
    }
}

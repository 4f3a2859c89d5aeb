//! Pieces of work on several threads, results in order.
//!
//! How the input is cut never depends on the number of threads, so neither do the bytes that come out.

use super::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, mpsc};

/// Works on pieces 0 to `count` with up to `threads` threads, and hands the results to `take` in order.
///
/// At most twice as many pieces as threads are begun and not yet taken, which bounds the memory. With one thread, or
/// one piece, all happens on the caller's.
pub(super) fn in_order<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let threads = threads.min(count);
    if threads <= 1 {
        return (0..count).try_for_each(|index| take(work(index)));
    }
    // A ticket is the right to begin the next piece; the caller's end goes away with it, and so do the workers.
    let (give, tickets) = mpsc::channel();
    let tickets = Mutex::new(tickets);
    let (done, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (done, tickets, work) = (done.clone(), &tickets, &work);
            scope.spawn(move || {
                loop {
                    let ticket = tickets.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(index) = ticket else { return };
                    let mut slot = Slot { index, value: None, done: &done };
                    slot.value = Some(work(index));
                }
            });
        }
        let give = give;
        let mut begun = 0;
        let mut early = BTreeMap::new();
        for next in 0..count {
            while begun < count && begun < next + 2 * threads {
                // Fails only when every worker is gone; then the result below does not come either.
                let _ = give.send(begun);
                begun += 1;
            }
            let value = loop {
                if let Some(value) = early.remove(&next) {
                    break value;
                }
                match results.recv() {
                    Ok((index, Some(value))) => early.insert(index, value),
                    // A worker panicked: the scope passes that on.
                    Ok((_, None)) | Err(_) => return Ok(()),
                };
            };
            take(value)?;
        }
        Ok(())
    })
}

/// Sends what became of a piece, even when its worker panics: nobody waits for ever.
struct Slot<'d, T> {
    index: usize,
    value: Option<T>,
    done: &'d mpsc::Sender<(usize, Option<T>)>,
}

impl<T> Drop for Slot<'_, T> {
    fn drop(&mut self) {
        // Nobody is there to receive after the caller has failed.
        let _ = self.done.send((self.index, self.value.take()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Error;

    #[test]
    fn results_come_in_order_for_every_thread_count() {
        for threads in [0, 1, 2, 3, 7, 100] {
            let mut seen = Vec::new();
            let work = |index: usize| {
                std::thread::sleep(std::time::Duration::from_millis((index as u64 * 7) % 5));
                index
            };
            in_order(23, threads, work, |index| {
                seen.push(index);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, (0..23).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_failure_ends_all() {
        let fail = |index: usize| if index == 5 { Err(Error::Trailer { len: 0 }) } else { Ok(()) };
        assert!(in_order(1000, 3, |index| index, fail).is_err());
    }

    #[test]
    #[should_panic]
    fn a_panic_is_passed_on() {
        let _ = in_order(10, 3, |index| assert_ne!(index, 4), |()| Ok(()));
    }
}

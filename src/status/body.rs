//! Response bodies: bytes, or pictures for as long as somebody reads.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{self, Bytes, Frame, SizeHint};

use crate::access::Place;
use crate::board::{Shot, Watcher};

/// The content type of moving pictures. Browsers replace each part with the next; RFC 2046 §5.1 has
/// the syntax.
pub(super) const MOVING: &str = "multipart/x-mixed-replace; boundary=lancam";
const FIRST: &[u8] = b"--lancam\r\n";
/// Each picture is followed by the boundary at once: browsers show a part when they see its end.
const BETWEEN: &[u8] = b"\r\n--lancam\r\n";

/// A response's body.
pub(super) enum Body {
    Bytes(Option<Bytes>),
    Moving(Moving),
}

impl Body {
    pub(super) fn new(bytes: impl Into<Bytes>) -> Body {
        Body::Bytes(Some(bytes.into()))
    }
}

impl body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Moving(moving) => moving
                .poll_piece(context)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Bytes(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Body::Moving(_) => SizeHint::default(),
        }
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Arc<Shot>, Watcher)>> + Send>>;

/// An endless series of newest pictures. The next one is fetched only when the last has been
/// written, so a slow reader misses pictures and never holds more than one.
pub(super) struct Moving {
    next: Next,
    pieces: VecDeque<Bytes>,
    _place: Place,
}

impl Moving {
    pub(super) fn new(watcher: Watcher, place: Place) -> Moving {
        Moving {
            next: Box::pin(next(watcher)),
            pieces: [Bytes::from_static(FIRST)].into(),
            _place: place,
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(piece));
        }
        let Some((shot, watcher)) = ready!(self.next.as_mut().poll(context)) else {
            return Poll::Ready(None);
        };
        self.next = Box::pin(next(watcher));
        let length = shot.jpeg.len();
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n");
        self.pieces
            .extend([shot.jpeg.clone(), Bytes::from_static(BETWEEN)]);
        Poll::Ready(Some(head.into()))
    }
}

/// The next picture that the watcher has not seen; `None` if there will be none.
async fn next(mut watcher: Watcher) -> Option<(Arc<Shot>, Watcher)> {
    let shot = watcher.next().await?;
    Some((shot, watcher))
}

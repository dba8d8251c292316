//! Where a picture goes in a window: as large as it fits, its aspect ratio kept, black around it;
//! and how it gets that size, by turbojpeg's scaling and, where that is not enough, by
//! `scale`.

use turbojpeg::ScalingFactor;

/// The turbojpeg scaling factors in use, in eighths. The others exist too, but only these have SIMD
/// inverse DCTs; decoding to one of these and scaling the rest of the way is faster.
const EIGHTHS: [usize; 4] = [1, 2, 4, 8];

/// A rectangle in a window, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Width.
    pub width: usize,
    /// Height.
    pub height: usize,
}

impl Rect {
    pub(super) fn new(x: usize, y: usize, width: usize, height: usize) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    /// Whether the point is in it.
    pub fn has(&self, x: usize, y: usize) -> bool {
        (self.x..self.x + self.width).contains(&x) && (self.y..self.y + self.height).contains(&y)
    }

    /// Whether they have a pixel in common.
    pub(super) fn touches(&self, other: &Rect) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

/// How a picture gets its place in a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Where it goes.
    pub(super) rect: Rect,
    /// turbojpeg's part of the scaling.
    pub(super) factor: ScalingFactor,
    /// Width and height after it, in pixels.
    pub(super) decoded: (usize, usize),
}

impl Layout {
    pub(super) fn new(picture: (usize, usize), window: (usize, usize)) -> Layout {
        let rect = fit(picture, window);
        let factor = factor_for(picture, rect);
        Layout {
            rect,
            factor,
            decoded: (factor.scale(picture.0), factor.scale(picture.1)),
        }
    }

    /// Whether turbojpeg alone gives the wanted size, so that it can decode into the window.
    pub(super) fn is_direct(&self) -> bool {
        self.decoded == (self.rect.width, self.rect.height)
    }
}

/// The largest centred rectangle in `window` with the aspect ratio of `picture` (width, height); at
/// least one pixel each way, empty only if the window or the picture is.
pub fn fit(picture: (usize, usize), window: (usize, usize)) -> Rect {
    let ((pw, ph), (ww, wh)) = (picture, window);
    if pw == 0 || ph == 0 || ww == 0 || wh == 0 {
        return Rect {
            x: 0,
            y: 0,
            width: 0,
            height: 0,
        };
    }
    let scaled = |side: usize, num: usize, den: usize| (side * num + den / 2) / den;
    let (width, height) = if ww * ph <= wh * pw {
        (ww, scaled(ph, ww, pw).clamp(1, wh))
    } else {
        (scaled(pw, wh, ph).clamp(1, ww), wh)
    };
    Rect {
        x: (ww - width) / 2,
        y: (wh - height) / 2,
        width,
        height,
    }
}

/// The smallest factor whose result covers `rect`; 1 if even that does not.
fn factor_for(picture: (usize, usize), rect: Rect) -> ScalingFactor {
    EIGHTHS
        .iter()
        .map(|&eighths| ScalingFactor::new(eighths, 8))
        .find(|factor| {
            factor.scale(picture.0) >= rect.width && factor.scale(picture.1) >= rect.height
        })
        .unwrap_or(ScalingFactor::ONE)
}

/// Fills all of a window of the given width but `rect` with black.
pub(super) fn blacken_around(window: &mut [u32], width: usize, rect: Rect) {
    for (y, row) in window.chunks_exact_mut(width).enumerate() {
        if y < rect.y || y >= rect.y + rect.height {
            row.fill(0);
        } else {
            row[..rect.x].fill(0);
            row[rect.x + rect.width..].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_aspect_ratio_is_kept(pw in 1usize..5000, ph in 1usize..5000, ww in 1usize..5000, wh in 1usize..5000) {
            let rect = fit((pw, ph), (ww, wh));
            prop_assert!(rect.width >= 1 && rect.height >= 1);
            prop_assert!(rect.x + rect.width <= ww && rect.y + rect.height <= wh);
            prop_assert!(rect.width == ww || rect.height == wh);
            // Centred to the pixel, and true to half a pixel on the shorter way.
            prop_assert!((ww - rect.width).abs_diff(2 * rect.x) <= 1);
            prop_assert!((wh - rect.height).abs_diff(2 * rect.y) <= 1);
            if rect.width == ww {
                let ideal = (ww * ph) as f64 / pw as f64;
                prop_assert!(rect.height == 1 || (rect.height as f64 - ideal).abs() <= 0.5001);
            } else {
                let ideal = (wh * pw) as f64 / ph as f64;
                prop_assert!(rect.width == 1 || (rect.width as f64 - ideal).abs() <= 0.5001);
            }
        }
    }
}

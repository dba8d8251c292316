//! A V4L2 device node: what it is and offers, its format, rate and controls. Every list that a
//! driver gives is cut at a length that no camera needs.

use std::ffi::CString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use v4l::v4l_sys::*;

use super::call;

/// Longest list of formats, sizes, rates, controls or menu items that is read from a driver.
const LIST_MAX: u32 = 256;

/// A pixel format's four letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct Fourcc(pub(in super::super) [u8; 4]);

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.0.iter().map(|&b| printable(b)).collect();
        f.write_str(text.trim_end())
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' {
        char::from(byte)
    } else {
        '?'
    }
}

/// What a node says about itself.
#[derive(Clone, Debug)]
pub(in super::super) struct About {
    pub(in super::super) driver: String,
    pub(in super::super) card: String,
    pub(in super::super) bus: String,
    caps: u32,
}

impl About {
    /// Why this node is not a camera that can stream; `None`: it is one.
    pub(in super::super) fn why_no_camera(&self) -> Option<&'static str> {
        let has = |bits: u32| self.caps & bits != 0;
        if has(V4L2_CAP_VIDEO_M2M | V4L2_CAP_VIDEO_M2M_MPLANE) {
            return Some("a codec (memory to memory), not a camera");
        }
        if has(V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
            return (!has(V4L2_CAP_STREAMING)).then_some("a camera that cannot stream");
        }
        if has(V4L2_CAP_META_CAPTURE | V4L2_CAP_META_OUTPUT) {
            return Some("a metadata node, not a camera: its neighbour is the camera");
        }
        if has(V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_VIDEO_OUTPUT_MPLANE) {
            return Some("an output, not a camera: it consumes pictures");
        }
        Some("not a camera")
    }
}

/// A pixel format on offer.
#[derive(Clone, Debug)]
pub(in super::super) struct Offer {
    pub(in super::super) fourcc: Fourcc,
    pub(in super::super) description: String,
}

/// Width and height in pixels.
pub(in super::super) type Size = (u32, u32);

/// The picture sizes of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum SizeRange {
    One(Size),
    /// From, to, in steps of.
    Range(Size, Size, Size),
}

/// A format, set or to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Format {
    pub(in super::super) fourcc: Fourcc,
    pub(in super::super) size: Size,
    /// Bytes from one row to the next; 0 for compressed formats.
    pub(in super::super) stride: u32,
    /// The most bytes that a frame takes.
    pub(in super::super) bytes: u32,
    /// Memory planes.
    pub(in super::super) planes: u8,
}

/// The type of a control's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum ControlKind {
    Integer,
    Boolean,
    Button,
    Bitmask,
    Text,
    /// The index of one of these labels.
    Menu(Vec<(u32, String)>),
    /// Arrays and structs, which have no plain value.
    Other,
}

/// A control as its driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Control {
    pub(in super::super) id: u32,
    pub(in super::super) label: String,
    pub(in super::super) kind: ControlKind,
    pub(in super::super) min: i64,
    pub(in super::super) max: i64,
    pub(in super::super) step: u64,
    pub(in super::super) default: i64,
    pub(in super::super) read_only: bool,
    /// Currently without effect: another control overrides it.
    pub(in super::super) inactive: bool,
    wide: bool,
}

#[cfg(test)]
impl Control {
    pub(in super::super) fn for_test(
        id: u32,
        label: &str,
        kind: ControlKind,
        min: i64,
        max: i64,
        step: u64,
    ) -> Control {
        Control {
            id,
            label: label.to_owned(),
            kind,
            min,
            max,
            step,
            default: min,
            read_only: false,
            inactive: false,
            wide: false,
        }
    }
}

/// A control's value, as passed to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Raw {
    Number(i64),
    Text(CString),
}

/// An open device node.
pub(in super::super) struct Node {
    file: File,
    about: About,
}

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Node {
    /// Opens the node without blocking; child processes do not inherit it.
    ///
    /// # Errors
    /// The error of open or VIDIOC_QUERYCAP.
    pub(in super::super) fn open(path: &Path) -> io::Result<Node> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let mut answer: v4l2_capability = call::zeroed();
        call::call(file.as_fd(), call::QUERYCAP, &mut answer)?;
        let caps = if answer.capabilities & V4L2_CAP_DEVICE_CAPS != 0 {
            answer.device_caps
        } else {
            answer.capabilities
        };
        let about = About {
            driver: text(&answer.driver),
            card: text(&answer.card),
            bus: text(&answer.bus_info),
            caps,
        };
        Ok(Node { file, about })
    }

    pub(in super::super) fn about(&self) -> &About {
        &self.about
    }

    /// Whether buffers are described by planes (`V4L2_CAP_VIDEO_CAPTURE_MPLANE`).
    pub(in super::super) fn is_planar(&self) -> bool {
        self.about.caps & V4L2_CAP_VIDEO_CAPTURE == 0
            && self.about.caps & V4L2_CAP_VIDEO_CAPTURE_MPLANE != 0
    }

    /// The buffer type of all calls.
    pub(super) fn kind(&self) -> u32 {
        if self.is_planar() {
            v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
        } else {
            v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE
        }
    }

    /// The pixel formats on offer.
    ///
    /// # Errors
    /// The device failed; a driver without the call has none.
    pub(in super::super) fn formats(&self) -> io::Result<Vec<Offer>> {
        enumerate(|index| {
            let mut item: v4l2_fmtdesc = call::zeroed();
            item.index = index;
            item.type_ = self.kind();
            call::call(self.as_fd(), call::ENUM_FMT, &mut item)?;
            Ok(Offer {
                fourcc: Fourcc(item.pixelformat.to_le_bytes()),
                description: text(&item.description),
            })
        })
    }

    /// The sizes of a format.
    ///
    /// # Errors
    /// The device failed.
    pub(in super::super) fn sizes(&self, fourcc: Fourcc) -> io::Result<Vec<SizeRange>> {
        let mut sizes = enumerate(|index| {
            let mut item: v4l2_frmsizeenum = call::zeroed();
            item.index = index;
            item.pixel_format = u32::from_le_bytes(fourcc.0);
            call::call(self.as_fd(), call::ENUM_FRAMESIZES, &mut item)?;
            if item.type_ == v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE {
                // SAFETY: "type" says which member the kernel filled; integers anyway.
                let one = unsafe { item.__bindgen_anon_1.discrete };
                return Ok(SizeRange::One((one.width, one.height)));
            }
            // SAFETY: as above.
            let range = unsafe { item.__bindgen_anon_1.stepwise };
            Ok(SizeRange::Range(
                (range.min_width, range.min_height),
                (range.max_width, range.max_height),
                (range.step_width.max(1), range.step_height.max(1)),
            ))
        })?;
        // A range is a list of one; drivers return it for every index.
        if let Some(range) = sizes
            .iter()
            .find(|s| matches!(s, SizeRange::Range(..)))
            .copied()
        {
            sizes = vec![range];
        }
        Ok(sizes)
    }

    /// The frame rates of a format and size, in frames a second, fastest first; for a range, its
    /// ends.
    ///
    /// # Errors
    /// The device failed.
    pub(in super::super) fn rates(&self, fourcc: Fourcc, size: Size) -> io::Result<Vec<f64>> {
        let pairs = enumerate(|index| {
            let mut item: v4l2_frmivalenum = call::zeroed();
            item.index = index;
            item.pixel_format = u32::from_le_bytes(fourcc.0);
            (item.width, item.height) = size;
            call::call(self.as_fd(), call::ENUM_FRAMEINTERVALS, &mut item)?;
            if item.type_ == v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE {
                // SAFETY: "type" says which member the kernel filled; integers anyway.
                let one = unsafe { item.__bindgen_anon_1.discrete };
                return Ok([rate(one), None]);
            }
            // SAFETY: as above.
            let range = unsafe { item.__bindgen_anon_1.stepwise };
            Ok([rate(range.min), rate(range.max)])
        })?;
        let mut rates: Vec<f64> = pairs.into_iter().flatten().flatten().collect();
        rates.sort_by(|a, b| b.total_cmp(a));
        rates.dedup();
        Ok(rates)
    }

    /// The current format.
    ///
    /// # Errors
    /// The error of VIDIOC_G_FMT.
    pub(in super::super) fn format(&self) -> io::Result<Format> {
        let mut format: v4l2_format = call::zeroed();
        format.type_ = self.kind();
        call::call(self.as_fd(), call::G_FMT, &mut format)?;
        Ok(self.read_format(&format))
    }

    /// Asks for a format; returns what the driver made of it.
    ///
    /// # Errors
    /// The error of VIDIOC_S_FMT.
    pub(in super::super) fn set_format(&self, fourcc: Fourcc, size: Size) -> io::Result<Format> {
        let mut format: v4l2_format = call::zeroed();
        format.type_ = self.kind();
        let pixelformat = u32::from_le_bytes(fourcc.0);
        if self.is_planar() {
            let mut pix: v4l2_pix_format_mplane = {
                // SAFETY: zeroed above; every member of the union is integers.
                unsafe { format.fmt.pix_mp }
            };
            (pix.width, pix.height) = size;
            pix.pixelformat = pixelformat;
            pix.field = v4l2_field_V4L2_FIELD_ANY;
            format.fmt.pix_mp = pix;
        } else {
            let mut pix: v4l2_pix_format = {
                // SAFETY: zeroed above; every member of the union is integers.
                unsafe { format.fmt.pix }
            };
            (pix.width, pix.height) = size;
            pix.pixelformat = pixelformat;
            pix.field = v4l2_field_V4L2_FIELD_ANY;
            format.fmt.pix = pix;
        }
        call::call(self.as_fd(), call::S_FMT, &mut format)?;
        Ok(self.read_format(&format))
    }

    fn read_format(&self, format: &v4l2_format) -> Format {
        if self.is_planar() {
            // SAFETY: the buffer type in the request says that this member is filled.
            let pix = unsafe { format.fmt.pix_mp };
            // The struct is packed: copy its fields before borrowing them.
            let plane = pix.plane_fmt[0];
            return Format {
                fourcc: Fourcc({ pix.pixelformat }.to_le_bytes()),
                size: (pix.width, pix.height),
                stride: plane.bytesperline,
                bytes: plane.sizeimage,
                planes: pix.num_planes,
            };
        }
        // SAFETY: as above.
        let pix = unsafe { format.fmt.pix };
        Format {
            fourcc: Fourcc(pix.pixelformat.to_le_bytes()),
            size: (pix.width, pix.height),
            stride: pix.bytesperline,
            bytes: pix.sizeimage,
            planes: 1,
        }
    }

    /// Asks for a rate in frames a second (`None`: leaves it alone) and returns the current one, if
    /// the driver knows it.
    ///
    /// # Errors
    /// The device failed; a driver that cannot set a rate is not a failure.
    pub(in super::super) fn set_rate(&self, wanted: Option<f64>) -> io::Result<Option<f64>> {
        let mut parm: v4l2_streamparm = call::zeroed();
        parm.type_ = self.kind();
        match call::call(self.as_fd(), call::G_PARM, &mut parm) {
            Ok(()) => {}
            Err(error) if is_unsupported(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        // SAFETY: the buffer type says that "capture" is filled; integers anyway.
        let mut capture = unsafe { parm.parm.capture };
        let Some(wanted) = wanted else {
            return Ok(rate(capture.timeperframe));
        };
        if capture.capability & V4L2_CAP_TIMEPERFRAME == 0 {
            return Ok(rate(capture.timeperframe));
        }
        capture.timeperframe = v4l2_fract {
            numerator: 1000,
            denominator: (wanted * 1000.0).round() as u32,
        };
        parm.parm.capture = capture;
        match call::call(self.as_fd(), call::S_PARM, &mut parm) {
            Ok(()) => {}
            Err(error) if is_unsupported(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        // SAFETY: as above.
        Ok(rate(unsafe { parm.parm.capture.timeperframe }))
    }

    /// All controls that are not disabled.
    ///
    /// # Errors
    /// The device failed.
    pub(in super::super) fn controls(&self) -> io::Result<Vec<Control>> {
        let mut controls = Vec::new();
        let mut last = 0;
        while controls.len() < LIST_MAX as usize {
            let mut item: v4l2_query_ext_ctrl = call::zeroed();
            item.id = last | V4L2_CTRL_FLAG_NEXT_CTRL | V4L2_CTRL_FLAG_NEXT_COMPOUND;
            match call::call(self.as_fd(), call::QUERY_EXT_CTRL, &mut item) {
                Ok(()) => {}
                Err(error) if is_unsupported(&error) => break,
                Err(error) => return Err(error),
            }
            // A driver that does not advance would be asked for ever.
            if item.id <= last {
                break;
            }
            last = item.id;
            let class = item.type_ == v4l2_ctrl_type_V4L2_CTRL_TYPE_CTRL_CLASS;
            if !class && item.flags & V4L2_CTRL_FLAG_DISABLED == 0 {
                controls.push(self.control(&item));
            }
        }
        Ok(controls)
    }

    #[allow(non_upper_case_globals)]
    fn control(&self, item: &v4l2_query_ext_ctrl) -> Control {
        let kind = match item.type_ {
            _ if item.nr_of_dims > 0 => ControlKind::Other,
            v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER | v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64 => {
                ControlKind::Integer
            }
            v4l2_ctrl_type_V4L2_CTRL_TYPE_BOOLEAN => ControlKind::Boolean,
            v4l2_ctrl_type_V4L2_CTRL_TYPE_BUTTON => ControlKind::Button,
            v4l2_ctrl_type_V4L2_CTRL_TYPE_BITMASK => ControlKind::Bitmask,
            v4l2_ctrl_type_V4L2_CTRL_TYPE_STRING => ControlKind::Text,
            v4l2_ctrl_type_V4L2_CTRL_TYPE_MENU => ControlKind::Menu(self.menu(item, false)),
            v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER_MENU => ControlKind::Menu(self.menu(item, true)),
            _ => ControlKind::Other,
        };
        Control {
            id: item.id,
            label: text(&item.name.map(|c| c as u8)),
            kind,
            min: item.minimum,
            max: item.maximum,
            step: item.step,
            default: item.default_value,
            read_only: item.flags & V4L2_CTRL_FLAG_READ_ONLY != 0,
            inactive: item.flags & V4L2_CTRL_FLAG_INACTIVE != 0,
            wide: item.type_ == v4l2_ctrl_type_V4L2_CTRL_TYPE_INTEGER64,
        }
    }

    /// A menu's items. Some drivers refuse indices in between.
    fn menu(&self, item: &v4l2_query_ext_ctrl, numbers: bool) -> Vec<(u32, String)> {
        let first = u32::try_from(item.minimum).unwrap_or(0);
        let last = u32::try_from(item.maximum).unwrap_or(0);
        (first..=last.min(first.saturating_add(LIST_MAX)))
            .filter_map(|index| {
                let mut entry: v4l2_querymenu = call::zeroed();
                entry.id = item.id;
                entry.index = index;
                call::call(self.as_fd(), call::QUERYMENU, &mut entry).ok()?;
                if numbers {
                    // SAFETY: an integer menu fills "value"; the struct is packed, so it is copied.
                    return Some((index, unsafe { entry.__bindgen_anon_1.value }.to_string()));
                }
                // SAFETY: a menu fills "name"; any bytes are valid.
                let name = unsafe { entry.__bindgen_anon_1.name };
                Some((index, text(&name)))
            })
            .collect()
    }

    /// A control's current value; `None` if it has no plain one or hides it.
    pub(in super::super) fn value(&self, control: &Control) -> Option<i64> {
        if matches!(
            control.kind,
            ControlKind::Text | ControlKind::Other | ControlKind::Button
        ) {
            return None;
        }
        let mut item: v4l2_ext_control = call::zeroed();
        item.id = control.id;
        self.control_call(call::G_EXT_CTRLS, &mut item).ok()?;
        // SAFETY: the control's type says which member the kernel filled; integers anyway.
        Some(unsafe {
            if control.wide {
                item.__bindgen_anon_1.value64
            } else {
                i64::from(item.__bindgen_anon_1.value)
            }
        })
    }

    /// Sets a control.
    ///
    /// # Errors
    /// The error of VIDIOC_S_EXT_CTRLS.
    pub(in super::super) fn set_control(&self, control: &Control, value: &Raw) -> io::Result<()> {
        let mut item: v4l2_ext_control = call::zeroed();
        item.id = control.id;
        match value {
            Raw::Number(number) if control.wide => item.__bindgen_anon_1.value64 = *number,
            Raw::Number(number) => item.__bindgen_anon_1.value = *number as i32,
            Raw::Text(text) => {
                item.size = text.as_bytes_with_nul().len() as u32;
                // In a call that sets, the kernel only reads it.
                item.__bindgen_anon_1.string = text.as_ptr().cast_mut();
            }
        }
        self.control_call(call::S_EXT_CTRLS, &mut item)
    }

    fn control_call(
        &self,
        what: call::Call<v4l2_ext_controls>,
        item: &mut v4l2_ext_control,
    ) -> io::Result<()> {
        let mut list: v4l2_ext_controls = call::zeroed();
        list.count = 1;
        list.controls = item;
        // SAFETY: "controls" points to "count" = 1 control. Its "string", if the control is text,
        // was set by `set_control` to "size" bytes that live until it returns.
        unsafe { call::call_pointing(self.as_fd(), what, &mut list) }
    }
}

/// Calls `item` with 0, 1, 2 … until the driver says that there are no more.
fn enumerate<T>(mut item: impl FnMut(u32) -> io::Result<T>) -> io::Result<Vec<T>> {
    let mut list = Vec::new();
    for index in 0..LIST_MAX {
        match item(index) {
            Ok(found) => list.push(found),
            Err(error) if is_unsupported(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(list)
}

/// "No such item" or "no such call": the end of a list, not a failure.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOTTY | libc::ENODATA)
    )
}

fn rate(interval: v4l2_fract) -> Option<f64> {
    if interval.numerator == 0 || interval.denominator == 0 {
        return None;
    }
    Some(f64::from(interval.denominator) / f64::from(interval.numerator))
}

/// A driver's text: up to the first zero byte, whatever it contains.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]);
    text.chars().filter(|c| !c.is_control()).collect()
}

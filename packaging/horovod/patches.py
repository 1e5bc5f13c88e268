"""The edits made to Horovod's source before it is compiled.

An edit names its file and the exact text it replaces. Text that is not there exactly once stops
the build, so a patch can never be half applied or silently skipped.
"""

from dataclasses import dataclass
from pathlib import Path


class PatchError(Exception):
    """The source is not the one that the edit was written for."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Replace `old`, which must occur exactly once in `path`, with `new`."""

    path: str
    old: str
    new: str


# XLA collectives include headers that TensorFlow moved in 2.16. Nothing else refers to that file.
LEAVE_OUT_XLA_OPS = Edit(
    path="horovod/tensorflow/CMakeLists.txt",
    old='list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/xla_mpi_ops.cc")\n',
    new="",
)

# A process set's context reads its own network interface, which nobody sets. Gloo then takes the
# address of the host's name: where that is 127.0.0.1, other hosts cannot connect.
CARRY_INTERFACE_TO_PROCESS_SETS = Edit(
    path="horovod/common/gloo/gloo_context.cc",
    old="""\
  }

  attr device_attr;
  device_attr.iface = gloo_iface_;
""",
    new="""\
  }

  gloo_iface_ = global_context.gloo_iface_;
  attr device_attr;
  device_attr.iface = gloo_iface_;
""",
)

# Gloo's event thread gives up an event whose connection another thread is just writing to, and is told of the same
# event again at once: it spins. Where both threads share a core, as two ranks on two cores do, it spins until the end
# of its time slice while the writer waits for the core: 4 ms for an allreduce that takes 1 ms.
LET_THE_WRITER_FINISH = Edit(
    path="third_party/gloo/gloo/transport/tcp/pair.cc",
    old="""\
  std::unique_lock<std::mutex> lock(m_, std::try_to_lock);
  if (!lock) {
    return;
  }
""",
    new="""\
  std::unique_lock<std::mutex> lock(m_, std::try_to_lock);
  if (!lock) {
    sched_yield();
    return;
  }
""",
)

# With HOROVOD_GPU_OPERATIONS only: TensorFlow no longer has the function that gives the CUDA stream of its own stream.
# It would compile, and not load: undefined symbol.
ASK_THE_STREAM_FOR_ITS_HANDLE = Edit(
    path="horovod/tensorflow/mpi_ops.cc",
    old="""\
// Forward declaration of AsGpuStreamValue
namespace stream_executor {
namespace gpu {
GpuStreamHandle AsGpuStreamValue(Stream* stream);
} // namespace stream_executor
} // namespace gpu
#if TENSORFLOW_VERSION >= 2011000000
#include "tensorflow/compiler/xla/stream_executor/stream.h"
#else
#include "tensorflow/stream_executor/stream.h"
#endif // TENSORFLOW_VERSION >= 2011000000
#endif // HAVE_GPU
""",
    new="""\
#include "xla/stream_executor/stream.h"
namespace stream_executor {
namespace gpu {
inline GpuStreamHandle AsGpuStreamValue(Stream* stream) {
  return static_cast<GpuStreamHandle>(stream->platform_specific_handle().stream);
}
} // namespace gpu
} // namespace stream_executor
#endif // HAVE_GPU
""",
)

# Debug information makes the extension 50 MB instead of 2 and a fifth of the compilation's time.
# HOROVOD_DEBUG=1 still asks for a debug build.
LEAVE_OUT_DEBUG_INFORMATION = Edit(path="setup.py", old="'RelWithDebInfo'", new="'Release'")

EDITS = (
    LEAVE_OUT_XLA_OPS,
    CARRY_INTERFACE_TO_PROCESS_SETS,
    LET_THE_WRITER_FINISH,
    ASK_THE_STREAM_FOR_ITS_HANDLE,
    LEAVE_OUT_DEBUG_INFORMATION,
)


def apply_edits(source: Path) -> None:
    """Apply every edit to the unpacked source tree."""
    for edit in EDITS:
        target = source / edit.path
        text = target.read_text()
        found = text.count(edit.old)
        if found != 1:
            raise PatchError(
                f"{edit.path}: the text to replace occurs {found} times, expected once. "
                f"The patch does not fit this source: {edit.old.strip()!r}"
            )
        target.write_text(text.replace(edit.old, edit.new))

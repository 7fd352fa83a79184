"""The memory checker finds a planted fault; what it finds in the kernels, `python -m tests.kernels.sanitizer` says."""

import shutil
import subprocess
import sys

import pytest

from jax231.kernels import native
from tests.kernels import sanitizer

PLANTED = """
#include "xla/ffi/api/c_api.h"
#define SHOWN extern "C" __attribute__((visibility("default")))

static XLA_FFI_Error* fill(XLA_FFI_CallFrame* frame) {  // one entry more than there are
  if (auto* first = frame->extension_start; first && first->type == XLA_FFI_Extension_Metadata) {
    auto* metadata = reinterpret_cast<XLA_FFI_Metadata_Extension*>(first)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    return nullptr;
  }
  auto* y = static_cast<XLA_FFI_Buffer*>(frame->rets.rets[0]);
  for (int64_t i = 0; i <= y->dims[0]; ++i) static_cast<float*>(y->data)[i] = 1;
  return nullptr;
}

SHOWN int jax231_kernel_count() { return 1; }
SHOWN const char* jax231_kernel_name(int) { return "planted"; }
SHOWN void* jax231_kernel_handler(int) { return reinterpret_cast<void*>(&fill); }
"""

CALL = """
import jax, numpy as np
from jax231.kernels import native
assert native.active()
jax.block_until_ready(jax.jit(jax.ffi.ffi_call("jax231_planted", jax.ShapeDtypeStruct((5,), np.float32)))())
print("not noticed")
"""


@pytest.fixture(scope="module", autouse=True)
def sanitizers():
    if sys.platform != "linux" or shutil.which("g++") is None or not native.active():
        pytest.skip("takes g++ on Linux, and the compiled kernels")


def test_a_planted_fault_is_found(tmp_path):
    (tmp_path / "planted.cc").write_text(PLANTED)
    sanitizer.compiled(tmp_path)
    command = [sys.executable, "-c", CALL]
    done = subprocess.run(command, env=sanitizer.environment(tmp_path), capture_output=True, text=True)
    assert done.returncode != 0
    assert "not noticed" not in done.stdout
    assert "heap-buffer-overflow" in done.stderr
    assert "planted.cc" in sanitizer.summary(done.stderr) or "planted.cc" in done.stderr

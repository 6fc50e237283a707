"""The contract that the tests of storages share shows what was compared, as tests do."""

import pytest

pytest.register_assert_rewrite("storage_contract")

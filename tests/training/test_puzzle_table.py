import torch

from training.puzzle_table import SparseSignSGD
from training.world import World


def test_rows_of_the_batch_move_by_the_sign_of_their_summed_gradients_after_a_decoupled_decay():
    table = torch.full((4, 2), 2.0)
    gradients = torch.tensor([[3.0, -1.0], [0.0, 5.0], [-1.0, -1.0]])
    SparseSignSGD(table, weight_decay=0.5, world=World()).step(torch.tensor([2, 0, 2]), gradients, lr=0.1)
    decayed = 2.0 * (1 - 0.1 * 0.5)
    expected = [[decayed, decayed - 0.1], [2.0, 2.0], [decayed - 0.1, decayed + 0.1], [2.0, 2.0]]
    torch.testing.assert_close(table, torch.tensor(expected))

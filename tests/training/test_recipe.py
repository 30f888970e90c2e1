import pytest

from training.recipe import RecipeError
from training.recipe_file import differences, load_recipe, recipe_from_dict, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid_and_says_what_it_is(name):
    recipe = load_recipe(name)
    assert recipe.summary
    assert recipe_from_dict(recipe.to_dict()) == recipe
    config = recipe.architecture(num_puzzles=1)
    assert config.seq_len == recipe.codec.seq_len
    assert recipe.train.batch_size % recipe.train.accumulate == 0
    assert differences(recipe) == []


@pytest.mark.parametrize(
    ("name", "steps", "batch_size", "lr", "puzzle_lr", "weight_decay"),
    [
        ("sudoku-extreme-1k", 26041, 768, 1e-4, 1e-4, 1.0),
        ("sudoku-extreme-1k-1gpu", 52083, 384, 7e-5, 7e-5, 1.0),
        ("maze-30x30-hard-1k", 26041, 768, 1e-4, 1e-4, 1.0),
        ("maze-30x30-hard-1k-1gpu", 26041, 768, 1e-4, 1e-4, 1.0),
        ("arc-agi-1", 401171, 768, 1e-4, 1e-2, 0.1),
        ("arc-agi-2", 607682, 768, 1e-4, 1e-2, 0.1),
        ("sudoku-extreme-full", 166319, 2304, 3e-4, 3e-4, 0.1),
    ],
)
def test_the_papers_recipes_have_the_papers_numbers(name, steps, batch_size, lr, puzzle_lr, weight_decay):
    recipe = load_recipe(name)
    train = recipe.train
    assert (train.steps, train.batch_size, train.lr, train.puzzle_lr) == (steps, batch_size, lr, puzzle_lr)
    assert (train.weight_decay, train.puzzle_weight_decay) == (weight_decay, weight_decay)
    assert (train.optimiser, train.betas, train.warmup_steps) == ("adam_atan2", [0.9, 0.95], 2000)
    config = recipe.architecture(num_puzzles=1)
    assert (config.hidden_size, config.H_layers, config.L_layers, config.H_cycles) == (512, 4, 4, 2)
    assert config.prefix_len == 1
    assert recipe.prepare.endswith(recipe.data.dataset[0]) or f" {recipe.data.dataset[0]} " in recipe.prepare


def test_overrides_reach_their_section():
    recipe = load_recipe(
        "sudoku-cpu", ["train.steps=5", "lr=2e-3", "data.csv=a.csv,b.csv", "model.hidden_size=64", "compile=false"]
    )
    assert (recipe.train.steps, recipe.train.lr, recipe.train.compile) == (5, 2e-3, False)
    assert recipe.data.csv == ["a.csv", "b.csv"]
    assert recipe.model["hidden_size"] == 64
    assert sorted(differences(recipe)) == [
        "data.csv=a.csv,b.csv", "model.hidden_size=64", "train.compile=false", "train.lr=0.002", "train.steps=5",
    ]  # fmt: skip
    assert load_recipe("sudoku-cpu", differences(recipe)) == recipe


def test_a_single_value_stands_for_a_list_of_one():
    assert load_recipe("sudoku-cpu", ["data.csv=a.csv", "data.csv_weight=0.5"]).data.csv_weight == [0.5]


def test_a_recipe_describes_its_task():
    recipe = load_recipe("maze-cpu", ["task.shape=[5, 7]"])
    assert (recipe.task_name, recipe.codec.seq_len) == ("maze", 35)
    with pytest.raises(RecipeError, match="shape"):
        _ = load_recipe("maze-cpu", ["task.shape=five"]).codec


def test_a_recipe_may_build_on_another(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "sudoku-cpu"\nsummary = "Mine."\n[train]\nlr = 0.5\n')
    mine, base = load_recipe(str(path)), load_recipe("sudoku-cpu")
    assert (mine.name, mine.summary, mine.train.lr) == ("mine", "Mine.", 0.5)
    assert (mine.train.steps, mine.model, mine.data) == (base.train.steps, base.model, base.data)
    assert differences(mine) is None
    path.write_text('base = "no-such"')
    with pytest.raises(RecipeError, match=r"mine\.toml: no recipe 'no-such' to build on"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.step=5", "unknown key 'train.step'; the nearest is 'train.steps'"),
        ("stesp=5", "the nearest is 'steps'"),
        ("steps", "reads key=value"),
        ("train.steps=many", "train.steps: 'many'"),
        ("train.steps=1.5", "train.steps: 1.5"),
        ("train.gradient=all", "train.gradient: 'all'"),
        ("trian.steps=5", "the nearest is 'train.steps'"),
        ("model.hiden_size=5", "the nearest is 'model.hidden_size'"),
        ("train.lr=-1", "train.lr: -1 is not a number from 0"),
        ("train.batch_size=0", "train.batch_size must be at least 1"),
        ("train.target_share=1.5", "train.target_share must be from 0 to 1"),
        ("data.heldout=0", "data.heldout must be at least 1"),
        ("data.csv_weight=[1, 2, 3]", "data.csv_weight holds 3 weights for 0 files"),
        ("data.csv_weight=heavy", "data.csv_weight: \\['heavy'\\] is not a list, each a number from 0"),
    ],
)
def test_a_wrong_override_is_named(override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe("sudoku-cpu", [override])


def test_an_unknown_recipe_lists_the_known_ones(tmp_path):
    with pytest.raises(RecipeError, match="sudoku-cpu"):
        load_recipe("sudoku-gpu")
    (tmp_path / "broken.toml").write_text("task =")
    with pytest.raises(RecipeError, match=r"broken\.toml"):
        load_recipe(str(tmp_path / "broken.toml"))

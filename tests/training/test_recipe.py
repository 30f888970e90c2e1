import pytest

from training.recipe import RecipeError, load_recipe, recipe_from_dict, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid_and_says_what_it_is(name):
    recipe = load_recipe(name)
    assert recipe.summary
    assert recipe_from_dict(recipe.to_dict()) == recipe


def test_overrides_reach_their_section():
    recipe = load_recipe(
        "sudoku-cpu", ["train.steps=5", "lr=2e-3", "data.csv=a.csv,b.csv", "model.hidden_size=64", "compile=false"]
    )
    assert (recipe.train.steps, recipe.train.lr, recipe.train.compile) == (5, 2e-3, False)
    assert recipe.data.csv == ["a.csv", "b.csv"]
    assert recipe.model["hidden_size"] == 64


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.step=5", "unknown key 'train.step'; the nearest is 'train.steps'"),
        ("stesp=5", "the nearest is 'steps'"),
        ("steps", "reads key=value"),
        ("train.steps=many", "train.steps: 'many'"),
        ("train.steps=1.5", "train.steps: 1.5"),
        ("train.gradient=all", "train.gradient: 'all'"),
        ("trian.steps=5", "the nearest is 'train'"),
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

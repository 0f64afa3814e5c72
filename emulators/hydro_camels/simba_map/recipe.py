"""CAMELS SIMBA, LH set: gas, temperature, pressure and stars of 256^2 maps.

galaxyjax data fetch cmd --help    # the files, tens of GB: Globus, or a copy in GALAXYJAX_DATA/cmd
galaxyjax train emulators/hydro_camels/simba_map
galaxyjax validate emulators/hydro_camels/simba_map

The 1,000 simulations are split by number, all 15 maps of each on one side.
The recipe has not been run by this project, which has no copy of the files: its tests read small files of the
same layout, and take a loss of the maps.
"""

from galaxyjax.train.camels import CamelsRecipe

RECIPE = CamelsRecipe("SIMBA", "map", coarsen=1)
TRAIN, VALIDATION, TEST = RECIPE.examples(0, 800), RECIPE.examples(800, 900), RECIPE.examples(900, 1000)
MODEL = RECIPE.model()
TRAINING, SECOND = RECIPE.trainings(TRAIN, VALIDATION)
contract = RECIPE.contract

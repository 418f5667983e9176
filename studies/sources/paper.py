"""The eight data sets of the paper, as they are published: files, addresses, digests, how the target is made.

On each of them one feature is chosen to be privileged.
"""

from __future__ import annotations

import dataclasses

from studies.sources.published import Entry, Form, Target


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _github(repository: str, commit: str, path: str) -> tuple[str]:
    return (f"https://raw.githubusercontent.com/{repository}/{commit}/{path}",)


def _openml(path: str) -> tuple[str]:
    return (f"https://www.openml.org/data/download/{path}",)


def _uci(*paths: str) -> tuple[str, ...]:
    return tuple(f"https://archive.ics.uci.edu/{path}" for path in paths)


_PMLB = ("EpistasisLab/pmlb", "0820182add20998ed3f88b30efd273107286c695")
_QUANTCAL = ("isabellaloren4/Quantcal", "56247d126062d03988bd1a1f176257e321069b8d")
_THIRDS = {-1.0: 0.0, 0.0: 0.5, 1.0: 1.0}
_PHISHING = (
    "empty_server_form_handler popup_window https request_from_other_domain anchor_from_other_domain is_popular "
    "long_url age_of_domain ip_in_url"
)
_WIND = "year month day RPT VAL ROS KIL SHA BIR DUB CLA MUL CLO BEL"
_MOZILLA = Form(
    what="mozilla4 (OpenML 1046), ARFF",
    files=("mozilla4.arff",),
    target=Target("state", among=(1,)),
    sources=(_openml("53929/mozilla4.arff"),),
)

ENTRIES = (
    Entry(
        name="phishing",
        title="Phishing websites (the subset of UCI 379 that river distributes)",
        page="https://archive.ics.uci.edu/dataset/379/website+phishing",
        licence="CC BY 4.0",
        citation="Abdelhamid, Ayesh, Thabtah: Phishing detection based associative classification data mining. "
        "Expert Systems with Applications 41(13), 2014",
        target="phishing (rows that UCI calls suspicious are left out)",
        rows=1250,
        columns=words(_PHISHING),
        classes={"legitimate": 702, "phishing": 548},
        folders=("phishing", "phishing_river", "phishing_uci"),
        forms=(
            Form(
                what="river's phishing.csv.gz",
                files=("phishing.csv.gz",),
                target=Target("is_phishing", among=(1,)),
                sources=(("https://raw.githubusercontent.com/online-ml/river/main/river/datasets/phishing.csv.gz",),),
                sha256=("d8a6d44bd9672e852b8a53ad2c64229f81972158a77d981073a98b17c27af7a9",),
            ),
            Form(
                what="an export of river's phishing, label in column 0",
                files=("phishing.csv",),
                target=Target("0", among=(1,)),
            ),
            Form(
                what="Website Phishing (UCI 379), ARFF",
                files=("PhishingData.arff",),
                target=Target("Result", among=(1,), left_out=(0,)),
                sources=(_uci("static/public/379/website+phishing.zip"),),
                header=words(
                    "SFH popUpWidnow SSLfinal_State Request_URL URL_of_Anchor web_traffic URL_Length age_of_domain "
                    "having_IP_Address Result"
                ),
                recode=dict.fromkeys(words(_PHISHING)[:-1], _THIRDS),
            ),
        ),
    ),
    Entry(
        name="obesity",
        title="Obesity levels from eating habits and physical condition (UCI 544)",
        page="https://archive.ics.uci.edu/dataset/544",
        licence="CC BY 4.0",
        citation="Palechor, de la Hoz Manotas: Dataset for estimation of obesity levels based on eating habits and "
        "physical condition. Data in Brief 25, 2019",
        target="insufficient weight, normal weight or overweight level I",
        rows=2111,
        columns=words(
            "Gender Age Height Weight family_history_with_overweight FAVC FCVC NCP CAEC SMOKE CH2O SCC FAF TUE CALC "
            "MTRANS"
        ),
        classes={"overweight II or obese": 1262, "up to overweight I": 849},
        categorical=words("Gender family_history_with_overweight FAVC CAEC SMOKE SCC CALC MTRANS"),
        folders=("obesity",),
        forms=(
            Form(
                what="the obesity table of UCI 544",
                files=("ObesityDataSet_raw_and_data_sinthetic.csv",),
                target=Target("NObeyesdad", among=("Insufficient_Weight", "Normal_Weight", "Overweight_Level_I")),
                sources=(
                    _uci(
                        "static/public/544/estimation+of+obesity+levels+based+on+eating+habits+and+physical"
                        "+condition.zip"
                    ),
                ),
            ),
        ),
    ),
    Entry(
        name="diabetes",
        title="Pima Indians diabetes",
        page="https://www.openml.org/d/37",
        licence="not stated by the distributors (Kaggle's page: CC0; withdrawn by UCI)",
        citation="Smith, Everhart, Dickson, Knowler, Johannes: Using the ADAP learning algorithm to forecast the onset "
        "of diabetes mellitus. Symposium on Computer Applications and Medical Care, 1988",
        target="diabetes within five years",
        rows=768,
        columns=words("Pregnancies Glucose BloodPressure SkinThickness Insulin BMI DiabetesPedigreeFunction Age"),
        classes={"no diabetes": 500, "diabetes": 268},
        folders=("diabetes",),
        forms=(
            Form(
                what="Pima Indians diabetes (OpenML file 22044302), ARFF",
                files=("diabetes.arff",),
                target=Target("Outcome", among=(1,)),
                sources=(_openml("22044302/diabetes.arff"),),
            ),
            Form(
                what="Pima Indians diabetes, CSV",
                files=("diabetes.csv",),
                target=Target("Outcome", among=(1,)),
                sources=(
                    _github(
                        "mariomartgarcia/privileged_logistic_regression",
                        "5d203d4b03f4cf722b2b1fee767c75dff5db6cb6",
                        "data/diabetes.csv",
                    ),
                    _github("gustavovazquez/datasets", "90ffb73eda13fca676ef5b778352246ba260f114", "diabetes.csv"),
                ),
                sha256=("698c203a14aa31941d2251175330c9199f3ccdb31597abbba2a3e35416257a72",),
            ),
        ),
    ),
    Entry(
        name="phoneme",
        title="Nasal and oral vowels (ELENA; OpenML 1489)",
        page="https://www.openml.org/d/1489",
        licence="not stated (OpenML: Public)",
        citation="Alinat: Periodic progress report 4, ROARS project ESPRIT II 5516, 1993",
        target="nasal vowel (class 1 of OpenML)",
        rows=5404,
        columns=words("V1 V2 V3 V4 V5"),
        classes={"oral": 1586, "nasal": 3818},
        folders=("phoneme",),
        forms=(
            Form(
                what="phoneme (OpenML 1489), ARFF",
                files=("phoneme.arff",),
                target=Target("Class", among=(1,)),
                sources=(_openml("1592281/php8Mz7BG"),),
            ),
            Form(
                what="phoneme (OpenML 1489), CSV",
                files=("1489_phoneme.csv",),
                target=Target("target", among=(1,)),
                sources=(_github(*_QUANTCAL, "datasets/1489_phoneme.csv"),),
                sha256=("234763d6ecc93b73d0b13623e307bf8e26b233e9522afa8cd32a2e392361e381",),
            ),
            Form(
                what="phoneme (PMLB)",
                files=("phoneme.tsv.gz",),
                target=Target("target", among=(0,)),
                sources=(_github(*_PMLB, "datasets/phoneme/phoneme.tsv.gz"),),
                sha256=("2e1c31a2c560f3539be5bda1084939765c80ddd814bd6919fd8a3465f9b8aee6",),
                header=words("Aa Ao Dcl Iy Sh target"),
                separator="\t",
                note="phoneme: read from PMLB's copy, whose features have another scale than OpenML's.",
            ),
        ),
    ),
    Entry(
        name="mozilla4",
        title="Defect fixes and sizes of Mozilla's C++ classes (PROMISE; OpenML 1046)",
        page="https://www.openml.org/d/1046",
        licence="CC BY-SA 3.0",
        citation="Koru, Zhang, Liu: Modeling the effect of size on defect proneness for open-source software. "
        "Predictive Models in Software Engineering Workshop, 2007",
        target="the class has had a defect fix before",
        rows=15545,
        columns=words("id start end event size"),
        classes={"no fix yet": 5108, "fixed before": 10437},
        folders=("mozilla4",),
        forms=(
            _MOZILLA,
            dataclasses.replace(
                _MOZILLA,
                what="mozilla4 as PROMISE published it, ARFF",
                sources=(
                    _github(
                        "Derek-Jones/ESEUR-code-data",
                        "9e3fbb15f9dffb5b21b8076d6a0cd466fccbd587",
                        "survival/class_size/mozilla4.arff.xz",
                    ),
                ),
                sha256=("de11e0be0e6dcd541e1f6755b6b555c5b2bb2ba3de16990485012b941ab5f8ed",),
            ),
        ),
    ),
    Entry(
        name="wine",
        title="Wine quality, red and white (UCI 186)",
        page="https://archive.ics.uci.edu/dataset/186/wine+quality",
        licence="CC BY 4.0",
        citation="Cortez, Cerdeira, Almeida, Matos, Reis: Modeling wine preferences by data mining from "
        "physicochemical properties. Decision Support Systems 47(4), 2009",
        target="quality above 5",
        rows=6497,
        columns=words(
            "fixed_acidity volatile_acidity citric_acid residual_sugar chlorides free_sulfur_dioxide "
            "total_sulfur_dioxide density pH sulphates alcohol"
        ),
        classes={"quality up to 5": 2384, "quality above 5": 4113},
        folders=("wine", "wine_quality"),
        forms=(
            Form(
                what="a table of UCI's wine quality",
                files=("winequality-red.csv", "winequality-white.csv"),
                target=Target("quality", above=5),
                sources=(
                    _uci("static/public/186/wine+quality.zip"),
                    _uci(
                        "ml/machine-learning-databases/wine-quality/winequality-red.csv",
                        "ml/machine-learning-databases/wine-quality/winequality-white.csv",
                    ),
                ),
                sha256=(
                    "4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e",
                    "76c3f809815c17c07212622f776311faeb31e87610d52c26d87d6e361b169836",
                ),
                separator=";",
            ),
        ),
    ),
    Entry(
        name="abalone",
        title="Abalone, age in rings (UCI 1; binarised as OpenML 720)",
        page="https://archive.ics.uci.edu/dataset/1/abalone",
        licence="CC BY 4.0",
        citation="Nash, Sellers, Talbot, Cawthorn, Ford: The population biology of abalone in Tasmania. Sea Fisheries "
        "Division Technical Report 48, 1994",
        target="P: fewer rings than the mean",
        rows=4177,
        columns=words("Sex Length Diameter Height Whole_weight Shucked_weight Viscera_weight Shell_weight"),
        classes={"N": 2081, "P": 2096},
        categorical=("Sex",),
        folders=("abalone",),
        forms=(
            Form(
                what="abalone.data of UCI 1",
                files=("abalone.data",),
                target=Target("Rings", below_mean=True),
                sources=(
                    _uci("static/public/1/abalone.zip"),
                    _uci("ml/machine-learning-databases/abalone/abalone.data"),
                ),
                sha256=("de37cdcdcaaa50c309d514f248f7c2302a5f1f88c168905eba23fe2fbc78449f",),
                has_header=False,
            ),
            Form(
                what="abalone (OpenML 720), ARFF",
                files=("abalone.arff",),
                target=Target("binaryClass", among=("P",)),
                sources=(_openml("53254/abalone.arff"),),
            ),
            Form(
                what="abalone (OpenML 720), CSV with coded sexes",
                files=("abalone_openml720_quantcal.csv",),
                target=Target("target", among=(1,)),
                header=words("Sex Length Diameter Height 'Whole 'Shucked 'Viscera 'Shell target"),
                recode={"Sex": {0.0: "M", 1.0: "F", 2.0: "I"}},
            ),
        ),
    ),
    Entry(
        name="wind",
        title="Daily mean wind speeds in Ireland 1961-1978, knots (StatLib; binarised as OpenML 847)",
        page="https://www.openml.org/d/847",
        licence="not stated (OpenML: Public)",
        citation="Haslett, Raftery: Space-time modelling with long-memory dependence: assessing Ireland's wind power "
        "resource. Applied Statistics 38, 1989",
        target="P: wind at Malin Head (MAL) below its mean",
        rows=6574,
        columns=words(_WIND),
        classes={"N": 3073, "P": 3501},
        folders=("wind",),
        forms=(
            Form(
                what="wind (OpenML 847), ARFF",
                files=("wind.arff",),
                target=Target("binaryClass", among=("P",)),
                sources=(_openml("53381/wind.arff"),),
            ),
            Form(
                what="wind (OpenML 847), CSV",
                files=("wind_openml847_quantcal.csv",),
                target=Target("target", among=(1,)),
                sources=(_github(*_QUANTCAL, "datasets/wind.csv"),),
                sha256=("8c67c88976c74e3e1f7403ee709cf3a333ec52bf8d776259eae0a8272e3173fc",),
            ),
            Form(
                what="wind (StatLib by way of PMLB), numeric target",
                files=("503_wind.tsv.gz",),
                target=Target("target", below_mean=True),
                sources=(_github(*_PMLB, "datasets/503_wind/503_wind.tsv.gz"),),
                sha256=("2cc1e040bdc20737674a00039cd80e16758c511e697e524ed17e4335ec93e9a6",),
                separator="\t",
                decimals=2,
            ),
            Form(
                what="wind.data of StatLib, numeric target",
                files=("wind.data",),
                target=Target("MAL", below_mean=True),
                sources=(("http://lib.stat.cmu.edu/datasets/wind.data",),),
                has_header=False,
                separator=r"\s+",
            ),
        ),
    ),
)
